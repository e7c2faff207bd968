"""What is counted of orders."""

from __future__ import annotations

from eventcore.telemetry import Counts, Tally

from .status import OrderStatus

_orders = Counts("shop.orders", "{order}", "Orders accepted, confirmed, rejected, cancelled", ("shop.order.outcome",))
_ONE_MORE = {outcome: _orders.one(outcome) for outcome in ("accepted", "confirmed", "rejected", "cancelled")}
for _outcome in _ONE_MORE:
    _orders.add(_outcome, count=0)


def accepted() -> Tally:
    """One more order was placed."""
    return _ONE_MORE["accepted"]


def ended(status: OrderStatus) -> Tally:
    """One more order has come to this status."""
    return _ONE_MORE[status]
