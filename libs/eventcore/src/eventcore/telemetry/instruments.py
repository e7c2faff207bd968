"""Instruments for hot paths: recording costs a look-up, where OpenTelemetry's own take as long as half a commit.

Each is in `catalogue` from the moment it is made, with all that there is to know of it. `configure` exports what they
have recorded, on all ways, under the names that they have here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Literal

from msgspec import Struct

LabelValue = str | int | None
LabelValues = tuple[LabelValue, ...]
Reading = Mapping[LabelValues, float]
InstrumentKind = Literal["counter", "gauge", "histogram"]

CATALOGUE: list[Instrument] = []
"""Every instrument of this process: eventcore's own, and those of the modules that have been imported."""


@dataclass(eq=False, repr=False)
class Instrument:
    """A metric with few values for each of its attributes: every combination takes memory for good.

    What is recorded belongs to a key: the values of `attributes`, in that order; `None` where there is none. `constant`
    attributes are the same for all. Names, units and attributes are OpenTelemetry's where its conventions have them.
    """

    kind: ClassVar[InstrumentKind]
    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    _: KW_ONLY
    constant: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        CATALOGUE.append(self)

    def attributes_of(self, key: LabelValues) -> dict[str, str | int]:
        """What is exported of a key."""
        named = zip(self.attributes, key, strict=True)
        return {**self.constant, **{name: value for name, value in named if value is not None}}


@dataclass(eq=False, repr=False)
class Counts(Instrument):
    """A counter."""

    kind = "counter"
    cells: dict[LabelValues, float] = field(default_factory=dict, init=False)

    def add(self, *key: LabelValue, count: float = 1) -> None:
        """So many more; with a count of 0 the key is shown from now on, so that its first increase can be seen."""
        self.cells[key] = self.cells.get(key, 0) + count

    def one(self, *key: LabelValue) -> Tally:
        """One more, to be counted later."""
        return Tally(self, key)


class Tally(Struct, frozen=True, gc=False):
    """One more of something, for whoever finds out that it has really happened: see `Transaction.counts`."""

    counts: Counts
    key: LabelValues

    def add(self) -> None:
        """It has happened."""
        self.counts.add(*self.key)


@dataclass(eq=False, repr=False)
class Gauges(Instrument):
    """What is as it is at the moment: read when somebody asks, from whoever knows."""

    kind = "gauge"
    _sources: list[Callable[[], Reading]] = field(default_factory=list, init=False)

    def watch(self, source: Callable[[], Reading]) -> Callable[[], None]:
        """Read from `source` too, until the returned function is called."""
        self._sources.append(source)
        return lambda: self._sources.remove(source)

    def read(self) -> Reading:
        """What all sources say now."""
        return {key: value for source in list(self._sources) for key, value in source().items()}


class Cell:
    """What was recorded under one key: how many in each bucket (the last one has no upper bound), and in total."""

    __slots__ = ("counts", "highest", "lowest", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0
        self.lowest, self.highest = float("inf"), 0.0


@dataclass(eq=False, repr=False)
class Durations(Instrument):
    """A histogram of seconds, in buckets with these upper bounds."""

    kind = "histogram"
    _: KW_ONLY
    bounds: tuple[float, ...]
    cells: dict[LabelValues, Cell] = field(default_factory=dict, init=False)

    def record(self, seconds: float, *key: LabelValue, count: int = 1) -> None:
        """Something took so long, so many times."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(len(self.bounds) + 1)
        cell.counts[bisect_left(self.bounds, seconds)] += count
        cell.total += seconds * count
        if not cell.lowest <= seconds <= cell.highest:
            cell.lowest, cell.highest = min(cell.lowest, seconds), max(cell.highest, seconds)
