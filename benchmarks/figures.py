"""What the runs come to: medians, spread, and ratios of runs of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Run = dict[str, Any]
# By work and contestant, one run for each round.
Runs = dict[str, dict[str, list[Run]]]


def rates(runs: Sequence[Run]) -> list[float]:
    """Events a second of each round."""
    return [run["count"] / run["wall"] for run in runs]


def cpu(runs: Sequence[Run], whose: str = "cpu") -> float | None:
    """Median milliseconds of CPU for 1,000 events, the client's or the `server`'s; `None` where nobody measured it."""
    used = [run[whose] / run["count"] * 1_000_000 for run in runs if whose in run]
    return statistics.median(used) if used else None


def ratio(ours: Sequence[Run], theirs: Sequence[Run], of: Callable[[Run], float]) -> float:
    """How many times theirs ours is. Rounds are compared one by one, so that a busy minute spoils one round only."""
    return statistics.median(of(one) / of(other) for one, other in zip(ours, theirs, strict=False))


def rate(run: Run) -> float:
    """Events a second."""
    return float(run["count"] / run["wall"])


def cost(run: Run) -> float:
    """The client's CPU seconds for one event."""
    return float(run["cpu"] / run["count"])
