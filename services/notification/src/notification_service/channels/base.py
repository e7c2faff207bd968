"""What a customer is notified of, independent of how."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")


class NotificationKind(StrEnum):
    """What happened to the order; also the name of its templates and the webhook's `type`."""

    ORDER_CONFIRMED = "order_confirmed"
    ORDER_REJECTED = "order_rejected"
    ORDER_CANCELLED = "order_cancelled"


@dataclass(frozen=True, slots=True)
class OrderedLine:
    """So many of one product."""

    product_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class MissingLine:
    """A product of which there was not enough."""

    product_id: str
    requested: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One fact to tell one customer; built by the domain, rendered by the channels. Its repr holds no mail address."""

    id: str
    order_id: str
    kind: NotificationKind
    correlation_id: str
    occurred_at: datetime
    customer_id: str | None = None
    email: str | None = field(default=None, repr=False)
    items: tuple[OrderedLine, ...] = ()
    reason: str | None = None
    shortages: tuple[MissingLine, ...] = ()

    @property
    def key(self) -> str:
        """The idempotency key given to the outside (Message-ID, webhook-id): the event id, or its SHA-256 in hex.

        Ids come from other programs too. One that could end a header, or holds the full stop that delimits what
        Standard Webhooks signs, is replaced by its digest, which is the same for every attempt as well.
        """
        if _PLAIN_KEY.fullmatch(self.id):
            return self.id
        return sha256(self.id.encode("utf-8", "surrogatepass")).hexdigest()


class Channel(Protocol):
    """A way to reach customers."""

    name: str

    def recipient(self, notification: Notification) -> str | None:
        """Who is notified, as shown by the API; None when this channel can't reach this customer."""

    async def send(self, notification: Notification) -> None:
        """Return once the outside has accepted the notification; raise `Refused` or `ChannelUnavailable` otherwise.

        At least once: when the answer is lost, it may have arrived; the next attempt has the same `key`.
        """

    async def close(self) -> None:
        """Let go of all connections, within a few seconds. Never raises; may be called twice."""


def on_one_line(text: str) -> str:
    """`text` without anything that could start a new line in a log or a header."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def masked(email: str) -> str:
    """A mail address that can be logged: `anna@example.com` becomes `a***@example.com`."""
    local, at, domain = on_one_line(email).rpartition("@")
    return f"{local[:1]}***@{domain}" if at else "***"
