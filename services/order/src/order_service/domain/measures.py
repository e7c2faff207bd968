"""What is counted of orders."""

from __future__ import annotations

from eventcore.telemetry import Counts, Tally

from .status import Status

_orders = Counts("shop.orders", "{order}", "Orders by what became of them", ("shop.order.outcome",))
_accepted = "accepted"
for _outcome in (_accepted, "confirmed", "rejected", "cancelled"):
    _orders.add(_outcome, count=0)


def accepted() -> Tally:
    """One more order was placed."""
    return _orders.one(_accepted)


def ended(status: Status) -> Tally:
    """One more order has come to this status."""
    return _orders.one(status.value)
