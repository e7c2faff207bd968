"""What is counted of orders."""

from __future__ import annotations

from eventcore.telemetry import Counts, Tally

from .status import Status

_orders = Counts("shop.orders", "{order}", "Orders by what became of them", ("shop.order.outcome",))
_one_more = {outcome: _orders.one(outcome) for outcome in ("accepted", "confirmed", "rejected", "cancelled")}
for _outcome in _one_more:
    _orders.add(_outcome, count=0)


def accepted() -> Tally:
    """One more order was placed."""
    return _one_more["accepted"]


def ended(status: Status) -> Tally:
    """One more order has come to this status."""
    return _one_more[status]
