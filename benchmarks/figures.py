"""What the runs come to: medians, spread, and ratios of runs of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

# What one contestant took, once: `count` events, `wall` seconds, `cpu` seconds of its own, `server` seconds of Redis …
Run = dict[str, Any]
# By work and contestant, one run for each round. The first contestant is the one that the others are compared with.
Runs = dict[str, dict[str, list[Run]]]
Of = Callable[[Run], float]


def rate(run: Run) -> float:
    """Events a second."""
    return float(run["count"] / run["wall"])


def client(run: Run) -> float:
    """The client's milliseconds of CPU for 1,000 events."""
    return float(run["cpu"] / run["count"] * 1e6)


def server(run: Run) -> float:
    """Redis's milliseconds of CPU for 1,000 events."""
    return float(run["server"] / run["count"] * 1e6)


def both(run: Run) -> float:
    """The client's and Redis's."""
    return client(run) + server(run)


def cores_in_use(run: Run) -> float:
    """How many cores the client and Redis kept busy."""
    return float((run["cpu"] + run["server"]) / run["wall"])


def named(name: str) -> Of:
    """A figure as it was measured."""
    return lambda run: float(run[name])


def median(runs: Sequence[Run], of: Of) -> float | None:
    """The median over the rounds; `None` where nobody measured it."""
    try:
        return statistics.median(of(run) for run in runs)
    except (KeyError, statistics.StatisticsError):
        return None


def ratio(ours: Sequence[Run], theirs: Sequence[Run], of: Of = rate) -> float | None:
    """How many times theirs ours is.

    Runs of the same round are compared, so that a busy minute of the machine spoils one round only.
    """
    try:
        return statistics.median(of(one) / of(other) for one, other in zip(ours, theirs, strict=False))
    except (KeyError, ZeroDivisionError, statistics.StatisticsError):
        return None
