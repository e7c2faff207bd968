"""How fast it was: orders a second, and the time from an order's POST to each thing that came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .evidence import Evidence
from .replay import Replay


class Latency(NamedTuple):
    """From just before the POST was sent to something that happened, in milliseconds; `measured` says by which clock.

    All clocks are this machine's; those of the services and of Redis tell whole milliseconds, rounded down.
    """

    to: str
    measured: str
    p50: float
    p99: float
    longest: float


def latencies(evidence: Evidence) -> list[Latency]:
    """One row for each step that all, or some, of the orders reached."""
    steps: dict[tuple[str, str], list[float]] = {}
    for step, seconds in _times(evidence):
        steps.setdefault(step, []).append(max(0.0, seconds * 1000))
    return [Latency(*step, percentile(times, 50), percentile(times, 99), max(times)) for step, times in steps.items()]


def _times(evidence: Evidence) -> Iterator[tuple[tuple[str, str], float]]:
    for order in evidence.posted:
        yield ("answered 202", "the client that posted it"), order.answered_at - order.sent_at
        for event in evidence.outcomes.get(order.order_id, []):
            yield ("stock decided", "the entry id of inventory.reserved or .rejected"), event.at - order.sent_at
        if state := evidence.state_of.get(order.order_id):
            yield ("order final", "the order's updatedAt, once confirmed or rejected"), state.updated_at - order.sent_at
        for notification in evidence.notifications.get(order.order_id, []):
            yield ("customer notified", "the notification's sentAt"), notification.sent_at - order.sent_at


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


class Rates(NamedTuple):
    """Orders a second."""

    accepted: float
    """While orders were posted."""
    finished: float
    """From the first POST until nothing was pending."""
    posting_seconds: float
    total_seconds: float


def rates(run: Replay) -> Rates:
    """How many orders a second."""
    posting, total = run.posted_at - run.began_at, run.settled_at - run.began_at
    return Rates(len(run.posted) / posting, len(run.posted) / total, posting, total)
