"""Reservations: the stock of a whole order is put aside, or none of it, once per order id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum

from contracts import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    Line,
    OrderCancelled,
    OrderCreated,
    Reason,
    Shortage,
)
from eventcore import Found, Hash, Transaction, Value, Write, publish

from .measures import failed
from .stock import available, give_back, take


class ReservationStatus(StrEnum):
    """What has become of an order here."""

    RESERVED = "reserved"
    REJECTED = "rejected"
    RELEASED = "released"
    CANCELLED = "cancelled"
    """Only a mark: `order.cancelled` has come, `order.created` has not."""


class ReservedOrder(Value):
    """An order as the inventory remembers it, for what must be given back and told later."""

    order_id: str
    items: tuple[Line, ...]
    customer_id: str | None = None
    email: str | None = None

    @classmethod
    def of(cls, order: OrderCreated) -> ReservedOrder:
        """What is worth remembering of an order."""
        return cls(order_id=order.order_id, items=order.items, customer_id=order.customer_id, email=order.email)

    def keep(self, status: ReservationStatus, ttl: timedelta) -> list[Write]:
        """Writes: this order with this status, for so long."""
        place = reservation(self.order_id)
        order = self.model_dump_json(by_alias=True, exclude_none=True)
        return [place.set({"status": status, "order": order}), place.expire(ttl)]


def reservation(order_id: str) -> Hash:
    """Where an order's reservation is kept: fields `status` and `order`."""
    return Hash(f"reservation:{order_id}")


def reserve(created: OrderCreated, *, keep: timedelta) -> Transaction:
    """Put everything aside that was ordered and say so; if anything is short, put nothing aside and say what is short.

    An order that was cancelled before it arrived is rejected. One that was decided before is left as it is.
    """
    order, status = ReservedOrder.of(created), reservation(created.order_id)["status"]
    quantities = total(order.items)
    return Transaction(
        when=[status.absent(), *(available(product) >= quantity for product, quantity in quantities.items())],
        then=[
            *take(quantities),
            *order.keep(ReservationStatus.RESERVED, keep),
            publish(InventoryReserved(**dict(order))),
        ],
        otherwise=lambda found: _refuse(created, found, keep=keep),
    )


def _refuse(created: OrderCreated, found: Found, *, keep: timedelta) -> Transaction:
    order, status = ReservedOrder.of(created), reservation(created.order_id)["status"]
    match found[status]:
        case None:
            still, (reason, shortages) = status.absent(), _why(total(order.items), found)
        case ReservationStatus.CANCELLED:
            still, reason, shortages = status.equals(ReservationStatus.CANCELLED), Reason.ORDER_CANCELLED, ()
        case _:
            return Transaction()
    rejected = InventoryRejected(
        order_id=order.order_id, reason=reason, shortages=shortages, customer_id=order.customer_id, email=order.email
    )
    return Transaction(
        when=[still],
        then=[*order.keep(ReservationStatus.REJECTED, keep), publish(rejected)],
        otherwise=lambda _: reserve(created, keep=keep),  # a peer was faster: from the beginning
        counts=[failed(reason)],
    )


def release(cancelled: OrderCancelled, *, keep: timedelta) -> Transaction:
    """Give back what was put aside for the order and say so; if the order is yet to come, leave a mark for it.

    Of an order that has nothing put aside, nothing changes.
    """
    place = reservation(cancelled.order_id)
    return Transaction(
        when=[place["status"].absent()],
        then=[place["status"].set(ReservationStatus.CANCELLED), place.expire(keep)],
        otherwise=lambda found: _give_back(found[place["status"]], found[place["order"]], keep=keep),
        reads=[place["order"]],
    )


def _give_back(status: str | None, kept: str | None, *, keep: timedelta) -> Transaction:
    if status != ReservationStatus.RESERVED or kept is None:
        return Transaction()
    order = ReservedOrder.model_validate_json(kept)
    return Transaction(
        when=[reservation(order.order_id)["status"].equals(ReservationStatus.RESERVED)],
        then=[
            *give_back(total(order.items)),
            *order.keep(ReservationStatus.RELEASED, keep),
            publish(InventoryReleased(**dict(order))),
        ],
        otherwise=lambda _: Transaction(),  # a peer has released it
    )


def total(items: Iterable[Line]) -> dict[str, int]:
    """How much of each product: lines of the same product add up."""
    quantities: Counter[str] = Counter()
    for line in items:
        quantities[line.product_id] += line.quantity
    return dict(quantities)


def _why(quantities: Mapping[str, int], found: Found) -> tuple[Reason, tuple[Shortage, ...]]:
    """What was short, each product once; a single unknown product makes that the reason."""
    levels = {product: found[available(product)] for product in quantities}
    shortages = tuple(
        Shortage(product_id=product, requested=quantities[product], available=int(level or 0))
        for product, level in levels.items()
        if int(level or 0) < quantities[product]
    )
    return Reason.UNKNOWN_PRODUCT if None in levels.values() else Reason.OUT_OF_STOCK, shortages
