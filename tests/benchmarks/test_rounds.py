"""Rounds are interleaved and fair, and whoever fails has no figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from rich.console import Console

from benchmarks.figures import Run
from benchmarks.plan import Cell, Servers
from benchmarks.rounds import interleaved
from benchmarks.running import WrongCount


class Nowhere(Servers):
    """No server at all."""

    alone = "redis://nowhere"


def cells(order: list[str], *whos: str, fails: Callable[[str], bool] = lambda who: False) -> list[Cell]:
    def measure(url: str, who: str) -> Run:
        order.append(who)
        if fails(who):
            raise WrongCount(f"{who} left something out")
        return {"count": 1, "wall": 1.0}

    return [Cell("work", who, partial(measure, who=who)) for who in whos]


def run(planned: list[Cell], rounds: int) -> tuple[dict[str, int], str]:
    """How many runs each has, and what was said."""
    said = io.StringIO()
    with ExitStack() as stack:
        runs = interleaved(planned, Nowhere("valkey", stack), rounds, Console(file=said, width=200))
    return {who: len(each) for who, each in runs.get("work", {}).items()}, said.getvalue()


def test_who_goes_first_moves_on_from_round_to_round() -> None:
    order: list[str] = []
    counts, _ = run(cells(order, "a", "b", "c"), rounds=3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert counts == {"a": 3, "b": 3, "c": 3}


def test_who_fails_has_no_figures_and_the_others_go_on() -> None:
    order: list[str] = []
    counts, said = run(cells(order, "a", "b", fails=lambda who: who == "a" and order.count("a") == 2), rounds=3)
    assert counts == {"b": 3}
    assert "left out: work: a: a left something out" in said


def test_who_cannot_take_part_is_told_of() -> None:
    counts, said = run([Cell("work", "a", lambda url: {"count": 1}, missing="there is no node here")], rounds=1)
    assert counts == {}
    assert "without a: there is no node here" in said


def test_what_hardly_varies_is_measured_once() -> None:
    counts, _ = run([Cell("work", "a", lambda url: {"count": 1}, once=True)], rounds=3)
    assert counts == {"a": 1}
