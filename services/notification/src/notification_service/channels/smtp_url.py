"""What an `SMTP_URL` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

from .mailbox import Mailbox

DEFAULT_TIMEOUT = timedelta(seconds=10)
DEFAULT_SENDER = "orders@localhost"
EXAMPLE = "smtp://user:password@host:587?from=shop@example.com"


class StartTls(StrEnum):
    """Whether a plain connection is upgraded. `auto` takes what the server offers, which does not stop an attacker."""

    REQUIRE = "require"
    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class SmtpUrl:
    """An SMTP server and how to use it; str and repr leave the credentials out."""

    host: str
    port: int
    tls: bool
    starttls: StartTls
    sender: Mailbox
    timeout: timedelta
    connections: int | None
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> SmtpUrl:
        """Read `smtp[s]://[user:password@]host[:port][?from=…&timeout=10&connections=3&starttls=require|auto|never]`.

        Credentials never travel in clear text unless the URL says so: with a user, `starttls` is `require` by default.
        Without `from`, the user is the sender where that is a mail address. ValueError: a sentence without the secrets.
        """
        parts = _split(url)
        options = _options(parts.query)
        user, password = _credentials(parts)
        tls = parts.scheme == "smtps"
        return cls(
            host=parts.hostname or "",
            port=_port(parts) or (465 if tls else 587 if user else 25),
            tls=tls,
            starttls=_starttls(options.get("starttls"), tls=tls, credentials=user is not None),
            sender=_sender(options.get("from"), user),
            timeout=_timeout(options.get("timeout")),
            connections=_connections(options.get("connections")),
            user=user,
            password=password,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'smtps' if self.tls else 'smtp'}://{host}:{self.port}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"SMTP_URL is not a URL such as {EXAMPLE}") from None
    if parts.scheme not in ("smtp", "smtps"):
        raise ValueError(f"SMTP_URL must start with smtp:// or smtps://, such as {EXAMPLE}")
    if not _is_host(parts.hostname or ""):
        raise ValueError(f"SMTP_URL names no host; it looks like {EXAMPLE}")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("SMTP_URL has something after the port (in a password, '/', '?' and '#' are %2F, %3F and %23)")
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:  # its message quotes the port, which may be half a password
        raise ValueError("SMTP_URL has a port that is not a number from 0 to 65535") from None


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("SMTP_URL needs both a user and a password, or neither")
    return user or None, password or None


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")  # as connecting does it
    except UnicodeError:
        return False
    return bool(name) and all(c.isprintable() and not c.isspace() for c in name)


def _options(query: str) -> dict[str, str]:
    """Unlike `parse_qsl` this leaves '+' alone: it is common in mail addresses."""
    options: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        name, _, value = option.partition("=")
        if name not in ("from", "timeout", "connections", "starttls") or name in options:
            raise ValueError("SMTP_URL takes the options from, timeout, connections and starttls, each once")
        options[name] = unquote(value)
    return options


def _starttls(value: str | None, *, tls: bool, credentials: bool) -> StartTls:
    if tls and value is not None:
        raise ValueError("SMTP_URL says smtps://, which is encrypted from the start: leave starttls out")
    if value is None:
        return StartTls.NEVER if tls else StartTls.REQUIRE if credentials else StartTls.AUTO
    if value not in list(StartTls):
        raise ValueError(f"SMTP_URL has a starttls that is none of {', '.join(StartTls)}")
    return StartTls(value)


def _sender(value: str | None, user: str | None) -> Mailbox:
    if value is None:
        value = user if user and "@" in user else DEFAULT_SENDER
    try:
        return Mailbox.parse(value)
    except ValueError:
        raise ValueError("SMTP_URL has no mail address to send from; say from=shop@example.com") from None


def _timeout(value: str | None) -> timedelta:
    if value is None:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 600:  # also refuses NaN
        raise ValueError("SMTP_URL has a timeout that is not a number of seconds above 0 and up to 600")
    return timedelta(seconds=seconds)


def _connections(value: str | None) -> int | None:
    """How many the server allows at once; None where nobody says so."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:5]) <= 1000):
        raise ValueError("SMTP_URL has connections that are not a number from 1 to 1000")
    return int(value)
