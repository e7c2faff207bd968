"""What a run comes to: ratios, verdicts, the chart and the document."""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import figures, posting, report, saga, works
from benchmarks.chart import chart
from benchmarks.contestants import OTHER_BUILD, beside
from benchmarks.figures import Run, Runs
from benchmarks.goals import verdicts
from benchmarks.plan import SAGA_FOR_LONG, TWO_PROCESSES, plan
from benchmarks.running import cores
from benchmarks.sheets import sheets

FACTS = {"cores": 2, "load": "0.1", "python": "3.11", "server": "valkey"}


def runs(ours: float, theirs: float) -> Runs:
    def run(rate: float) -> list[figures.Run]:
        return [{"count": 1000, "wall": 1000 / rate, "cpu": 500 / rate, "server": 0.001}] * 3

    return {works.ACKNOWLEDGE: {"eventcore": run(ours), "FastStream": run(theirs), "<&>": run(1.0)}}


def verdict(measured: Runs, name: str) -> str:
    return next(each.word for each in verdicts(measured) if each.goal == name)


def test_rounds_are_compared_one_by_one() -> None:
    quiet, busy = {"count": 100, "wall": 1.0}, {"count": 100, "wall": 10.0}
    half = [{**run, "wall": run["wall"] * 2} for run in (quiet, busy, quiet)]
    assert figures.ratio([quiet, busy, quiet], half) == 2.0


def test_what_nobody_measured_has_no_ratio() -> None:
    assert figures.ratio([], []) is None
    assert figures.ratio([{"count": 1, "wall": 1.0}], [{"count": 1, "wall": 1.0}], figures.client) is None


@pytest.mark.parametrize(("ours", "word"), [(12_000.0, "met"), (11_999.0, "not met")])
def test_a_goal_is_met_or_it_is_not(ours: float, word: str) -> None:
    assert verdict(runs(ours, 1000.0), "consume and acknowledge beside FastStream") == word


def processes(rate: float, cores: float) -> list[Run]:
    return [{"count": 1000, "wall": 1000 / rate, "cpu": cores * 1000 / rate, "server": 0.0}]


@pytest.mark.parametrize(("used", "word"), [(1.0, "met"), (0.5, "not met")])
def test_more_processes_than_there_are_cores_are_no_reason(used: float, word: str) -> None:
    two = processes(1700.0 if word == "met" else 1699.0, used * len(cores()))
    measured = {TWO_PROCESSES: {"1 process": processes(1000.0, 1.0), "2 processes": two}}
    assert verdict(measured, "two processes beside one, an empty handler") == word


def test_where_no_core_is_free_the_verdict_says_so() -> None:
    there = len(cores())
    two = processes(1500.0, 0.95 * there)
    measured = {TWO_PROCESSES: {"1 process": processes(1000.0, 1.0), "2 processes": two}}
    said = verdict(measured, "two processes beside one, an empty handler")
    assert said == f"not met: {0.95 * there:.2f} of {there} cores in use"


def test_a_run_of_nothing_meets_no_goal_and_misses_none() -> None:
    assert {each.word for each in verdicts({})} == {"not measured"}


def test_sheets_tell_every_contestant() -> None:
    [throughput, goals] = sheets(runs(2000.0, 1000.0))
    assert [row[1] for row in throughput.rows] == ["eventcore", "FastStream", "<&>"]
    assert throughput.rows[1][8] == "2.00"
    assert all(len(row) == len(sheet.headings) for sheet in (throughput, goals) for row in sheet.rows)


def test_the_chart_is_a_picture_whatever_contestants_are_called() -> None:
    picture = ElementTree.fromstring(chart(runs(2000.0, 1000.0), FACTS))  # noqa: S314 - our own
    bars = [each for each in picture.iter("{http://www.w3.org/2000/svg}rect") if each.get("class") in ("ours", "peer")]
    assert float(bars[0].get("width", 0)) == pytest.approx(2 * float(bars[1].get("width", 0)), rel=0.01)


def test_a_report_replaces_what_the_last_one_wrote_and_nothing_else() -> None:
    text = f"before\n{report.BEGIN}\nold figures\n{report.END}\nafter\n"
    once = report.replaced(text, runs(2000.0, 1000.0), FACTS)
    assert "old figures" not in once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert report.replaced(once, runs(2000.0, 1000.0), FACTS) == once


def test_the_document_has_a_place_for_the_figures() -> None:
    assert report.replaced(report.DOCUMENT.read_text(), runs(2000.0, 1000.0), FACTS)


def asked(*, only: str = "", who: str = "", minutes: int = 0, beside: Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(
        full=False, events=1000, sustained=1000, minutes=minutes, only=only, who=who, beside=beside
    )


def test_memory_is_watched_for_long_where_somebody_says_how_long() -> None:
    assert SAGA_FOR_LONG not in {cell.work for cell in plan(asked())}
    assert SAGA_FOR_LONG in {cell.work for cell in plan(asked(minutes=60))}


def test_the_program_that_has_grown_most_is_told_of() -> None:
    start, warm, end = [10.0, 10.0], [20.0, 20.0], [21.0, 30.0]
    assert saga.growth([start, *[warm] * 5, end]) == 1.5


def test_only_the_works_that_were_asked_for_are_planned() -> None:
    planned = {(cell.work, cell.who) for cell in plan(asked(only="consume, ack; at rest", who="hand"))}
    assert (works.ACKNOWLEDGE, "redis-py by hand") in planned
    assert (works.ACKNOWLEDGE, "eventcore") in planned
    assert ("service at rest", "order_service") in planned
    assert not {who for _, who in planned} & {"FastStream", "BullMQ"}
    assert works.PIPE not in {work for work, _ in planned}


def test_another_build_takes_part_in_what_both_can_do(tmp_path: Path) -> None:
    assert OTHER_BUILD not in {cell.who for cell in plan(asked())}
    cells = [cell for cell in plan(asked(beside=tmp_path)) if cell.who == OTHER_BUILD]
    assert {cell.work for cell in cells} == {*works.WORKS, posting.WORK}
    [contestant] = beside(tmp_path)
    assert f"{tmp_path}/.venv/bin/python" in contestant.command(works.PIPE, "redis://localhost", 5)
