"""The rows of the crash matrix: who is cut off, at which point, by what, on which server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product

import pytest

from eventcore.testing.server import ServerKind, available_kinds

from .proxy import Moment
from .watching import STREAMS

VARIABLE = "CRASH_MATRIX"


class Cut(Enum):
    """What goes wrong."""

    PROCESS = "the process is killed"
    CONNECTION = "the connection is cut"
    SERVER = "the server is killed"


class Point(Enum):
    """When it does, as a sentence goes on; `moment` is that of the command in question."""

    def __init__(self, words: str, moment: Moment) -> None:
        self.words, self.moment = words, moment

    DELIVERED = "while an entry is on its way to", Moment.RUN
    RUNNING = "while a handler runs in", Moment.ANSWERED
    COMMITTING = "before a commit by", Moment.ARRIVING
    COMMITTED = "between a commit and its reply to", Moment.RUN
    DONE = "after a commit by", Moment.ANSWERED
    LEAVING = "before a hand-back by", Moment.ARRIVING
    LEFT = "between a hand-back and its reply to", Moment.RUN
    TAKING_OVER = "before a takeover in", Moment.ARRIVING
    TAKEN_OVER = "between a takeover and its reply in", Moment.RUN
    REDRIVING = "before a redrive to", Moment.ARRIVING
    REDRIVEN = "between a redrive to, and the reply to it,", Moment.RUN
    PUTTING_ASIDE = "before a delivery is put aside by", Moment.ARRIVING
    PUT_ASIDE = "between putting aside and its reply to", Moment.RUN
    BRINGING_BACK = "before what is aside is brought back by", Moment.ARRIVING
    BROUGHT_BACK = "between bringing back and its reply to", Moment.RUN
    ORDERING = "before an order is committed", Moment.ARRIVING
    ORDERED = "between an order's commit and its reply", Moment.RUN
    ANSWERED = "after an order's commit", Moment.ANSWERED


@dataclass(frozen=True)
class Row:
    """One row. `who` is a consumer group, or how the customer orders."""

    kind: ServerKind
    cut: Cut
    point: Point
    who: str

    @property
    def share(self) -> str:
        """Which part of the matrix it belongs to: a part runs in one worker, so that its rows have one shop."""
        return f"crash matrix on {self.kind}, {'processes' if self.cut is Cut.PROCESS else 'connections and servers'}"

    def __str__(self) -> str:
        return f"{self.cut.value} {self.point.words} {self.who} ({self.kind})"


handling = (Point.DELIVERED, Point.RUNNING, Point.COMMITTING, Point.COMMITTED, Point.DONE)
handing_back = (Point.LEAVING, Point.LEFT)
taking_over = (Point.TAKING_OVER, Point.TAKEN_OVER)
redriving = (Point.REDRIVING, Point.REDRIVEN)
putting_aside = (Point.PUTTING_ASIDE, Point.PUT_ASIDE)
bringing_back = (Point.BRINGING_BACK, Point.BROUGHT_BACK)
ordering = (Point.ORDERING, Point.ORDERED, Point.ANSWERED)
groups = tuple(STREAMS)
with_key, without_key = "with an Idempotency-Key", "without an Idempotency-Key"


def rows(points: Iterable[Point], who: Iterable[str] = groups) -> pytest.MarkDecorator:
    """Parametrise a test with the rows of these points."""
    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(row, id=str(row), marks=pytest.mark.xdist_group(row.share))
            for row in _all(tuple(points), tuple(who))
            if _is_wanted(row)
        ],
    )


def _all(points: tuple[Point, ...], who: tuple[str, ...]) -> Iterator[Row]:
    for kind, cut, point, each in product(available_kinds(), Cut, points, who):
        yield Row(kind, cut, point, each)


def _is_wanted(row: Row) -> bool:
    return os.environ.get(VARIABLE) == "full" or row.kind == "valkey" or _is_essential(row)


def _is_essential(row: Row) -> bool:
    """What depends on the server itself: that it remembers what it has said, and does scripts whole."""
    return row.cut is Cut.SERVER and row.point.moment is Moment.RUN
