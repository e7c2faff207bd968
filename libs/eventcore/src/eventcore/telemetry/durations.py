"""Histograms for hot paths: recording costs a look-up, where OpenTelemetry's own take as long as half a commit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Cell:
    """What was recorded under one key: how many in each bucket (the last one has no upper bound), and in total."""

    __slots__ = ("counts", "highest", "lowest", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0
        self.lowest, self.highest = float("inf"), 0.0


class Durations(Generic[K]):
    """A histogram of seconds by keys, of which there must be few: each takes memory for good.

    `attributes` makes of a key what is exported, and is called only then; `configure` exports `all_durations`.
    """

    def __init__(
        self,
        name: str,
        description: str,
        bounds: tuple[float, ...],
        attributes: Callable[[K], Mapping[str, str | int]],
    ) -> None:
        self.name, self.description, self.bounds, self.attributes = name, description, bounds, attributes
        self.cells: dict[K, Cell] = {}
        all_durations.append(self)

    def record(self, seconds: float, key: K, count: int = 1) -> None:
        """Something took so long, so many times."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(len(self.bounds) + 1)
        cell.counts[bisect_left(self.bounds, seconds)] += count
        cell.total += seconds * count
        cell.lowest = min(cell.lowest, seconds)
        cell.highest = max(cell.highest, seconds)


all_durations: list[Durations[Any]] = []
"""Every histogram of this process."""
