"""A mail address that is safe on an SMTP command line and in a header."""

from __future__ import annotations

import re
from dataclasses import dataclass

import idna

# RFC 5322's atext and the dot, and what RFC 6531 adds beyond ASCII; `isprintable` takes controls and spaces out again.
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\-\u0080-\U0010FFFF]+")
_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """`local@domain`, the domain in its ASCII form (IDNA 2008): only a non-ASCII local part asks for SMTPUTF8."""

    local: str
    domain: str

    @classmethod
    def parse(cls, address: str) -> Mailbox:
        """Read a bare address. ValueError for all else, quoted local parts and address literals among it."""
        local, _, domain = address.strip().rpartition("@")
        if not _LOCAL.fullmatch(local) or not local.isprintable() or len(local.encode()) > 64:
            raise ValueError("not a mail address")
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode("ascii")  # IDNAError is a ValueError
        if not _DOMAIN.fullmatch(domain) or len(domain) > 253:
            raise ValueError("not a mail address")
        return cls(local, domain)

    @property
    def needs_utf8(self) -> bool:
        """Whether the server must speak SMTPUTF8 to take it."""
        return not self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"
