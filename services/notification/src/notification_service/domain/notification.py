"""What customers are notified of, and by which channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

import contracts
from contracts import InventoryRejected, InventoryReleased, InventoryReserved, Reason
from eventcore import Metadata, Origin
from notification_service.channels import Channel, MissingLine, Notification, NotificationKind, OrderedLine

Outcome = InventoryReserved | InventoryRejected | InventoryReleased


def notification(event: Outcome, metadata: Metadata) -> Notification:
    """What the customer is to know of this event: the same for every attempt."""
    about = partial(
        Notification,
        id=metadata.event_id,
        order_id=event.order_id,
        correlation_id=Origin.caused_by(metadata, "").correlation_id,
        occurred_at=_with_zone(metadata.timestamp),
        customer_id=event.customer_id,
        email=event.email,
    )
    match event:
        case InventoryReserved(items=items):
            return about(kind=NotificationKind.ORDER_CONFIRMED, items=_lines(items))
        case InventoryReleased(items=items):
            return about(kind=NotificationKind.ORDER_CANCELLED, items=_lines(items))
        case InventoryRejected(reason=reason, shortages=shortages):
            kind = (
                NotificationKind.ORDER_CANCELLED
                if reason is Reason.ORDER_CANCELLED
                else NotificationKind.ORDER_REJECTED
            )
            return about(kind=kind, reason=reason.value, shortages=_shortages(shortages))


def reaching(customer: Notification, channels: Sequence[Channel], last_resort: Channel) -> list[Channel]:
    """The channels that can reach this customer; the last resort where none of them can."""
    return [channel for channel in channels if channel.recipient(customer) is not None] or [last_resort]


def _lines(items: Iterable[contracts.Line]) -> tuple[OrderedLine, ...]:
    return tuple(OrderedLine(each.product_id, each.quantity) for each in items)


def _shortages(shortages: Iterable[contracts.Shortage]) -> tuple[MissingLine, ...]:
    return tuple(MissingLine(each.product_id, each.requested, each.available) for each in shortages)


def _with_zone(at: datetime) -> datetime:
    """Programs in other languages may leave the zone out; the contract's times are UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
