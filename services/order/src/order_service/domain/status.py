"""The statuses of an order, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Where an order stands."""

    PROCESSING = "processing"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


_next: Mapping[str, frozenset[Status]] = {
    Status.PROCESSING: frozenset({Status.CONFIRMED, Status.REJECTED, Status.CANCELLED}),
    Status.CONFIRMED: frozenset({Status.CANCELLED}),
    Status.REJECTED: frozenset(),
    Status.CANCELLED: frozenset(),
}


def may_follow(current: str, to: Status) -> bool:
    """Whether an order of status `current` may become `to`; from a status that nobody knows no way leads on."""
    return to in _next.get(current, ())
