"""The statuses of an order, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class OrderStatus(StrEnum):
    """Where an order stands."""

    PROCESSING = "processing"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


_NEXT: Mapping[str, frozenset[OrderStatus]] = {
    OrderStatus.PROCESSING: frozenset({OrderStatus.CONFIRMED, OrderStatus.REJECTED, OrderStatus.CANCELLED}),
    OrderStatus.CONFIRMED: frozenset({OrderStatus.CANCELLED}),
    OrderStatus.REJECTED: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
}


def may_follow(current: str, to: OrderStatus) -> bool:
    """Whether an order of status `current` may become `to`; from a status that nobody knows no way leads on."""
    return to in _NEXT.get(current, ())
