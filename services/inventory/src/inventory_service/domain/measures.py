"""What is counted of reservations."""

from __future__ import annotations

from contracts import Reason
from eventcore.telemetry import Counts, Tally

_failures = Counts(
    "shop.reservation.failures",
    "{order}",
    "Orders for which no stock was reserved, by reason",
    ("shop.reservation.reason",),
)
for _reason in Reason:
    _failures.add(_reason.value, count=0)


def failed(reason: Reason) -> Tally:
    """One more order was rejected."""
    return _failures.one(reason.value)
