"""How an order goes on: each step moves its status and its place in the indexes together, if the status allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic_core import to_json

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelled, Reason
from eventcore import Event, Found, Transaction, publish

from .measures import ended
from .order import index, order
from .status import OrderStatus, may_follow


class UnknownOrder(Exception):
    """There is no order with this id."""


class NotCancellable(Exception):
    """The order has come to another end already; the text is its status."""


def leave_it(status: str | None) -> Transaction:
    """An event that comes late, twice or for somebody else's order changes nothing."""
    return Transaction()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One order's move to another status, with the facts to write down and the event to publish.

    `at` is the time of it as the contract writes times, `keep` how long the order stays from now on. `otherwise` is
    asked with the status that was found (`None`: no such order) where the move is not allowed.
    """

    order_id: str
    to: OrderStatus
    at: str
    keep: timedelta
    facts: Mapping[str, str] = field(default_factory=dict)
    event: Event | None = None
    otherwise: Callable[[str | None], Transaction] = leave_it

    def starting(self, current: OrderStatus) -> Transaction:
        """The move, for an order that is probably of this status; where it is not, from the status it has."""
        place = order(self.order_id)
        return Transaction(
            when=[place["status"].equals(current)],
            then=[
                place.set({"status": self.to, "updatedAt": self.at, **self.facts}),
                place.expire(self.keep),
                index(current).remove(self.order_id),
                index(self.to).add(self.order_id),
                *([publish(self.event)] if self.event else []),
            ],
            otherwise=self._again,
            counts=[ended(self.to)],
        )

    def _again(self, found: Found) -> Transaction:
        current = found[order(self.order_id)["status"]]
        if current is None or not may_follow(current, self.to):
            return self.otherwise(current)
        return self.starting(OrderStatus(current))


def confirm(event: InventoryReserved, *, at: str, keep: timedelta) -> Transaction:
    """Everything is put aside: a processing order is confirmed."""
    return Step(order_id=event.order_id, to=OrderStatus.CONFIRMED, at=at, keep=keep).starting(OrderStatus.PROCESSING)


def reject(event: InventoryRejected, *, at: str, keep: timedelta) -> Transaction:
    """Nothing is put aside: a processing order is rejected, or cancelled where that was the reason."""
    to = OrderStatus.CANCELLED if event.reason is Reason.ORDER_CANCELLED else OrderStatus.REJECTED
    facts = {"reason": event.reason.value}
    if event.shortages:
        facts["shortages"] = to_json(event.shortages, by_alias=True).decode()
    return Step(order_id=event.order_id, to=to, at=at, keep=keep, facts=facts).starting(OrderStatus.PROCESSING)


def close(event: InventoryReleased, *, at: str, keep: timedelta) -> Transaction:
    """What was put aside is given back: an order that still stands is cancelled."""
    return Step(order_id=event.order_id, to=OrderStatus.CANCELLED, at=at, keep=keep).starting(OrderStatus.CONFIRMED)


def cancel(order_id: str, *, at: str, keep: timedelta) -> Transaction:
    """A customer's wish: the order is cancelled and the event published; nothing happens to a cancelled one.

    Raises, when committed, `UnknownOrder`, or `NotCancellable` for an order that is rejected.
    """

    def otherwise(status: str | None) -> Transaction:
        match status:
            case None:
                raise UnknownOrder
            case OrderStatus.CANCELLED:
                return Transaction()
            case _:
                raise NotCancellable(status)

    step = Step(
        order_id=order_id,
        to=OrderStatus.CANCELLED,
        at=at,
        keep=keep,
        # Not validated: the id comes from outside, and one that no event could have belongs to no order.
        event=OrderCancelled.model_construct(order_id=order_id),
        otherwise=otherwise,
    )
    return step.starting(OrderStatus.CONFIRMED)
