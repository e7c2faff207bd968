"""Counting instructions: the same for the same, where valgrind is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import instructions, posting, works
from benchmarks.instructions import Counter, Subject, subjects

needs_valgrind = pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")


def test_how_a_program_begins_and_ends_is_left_out() -> None:
    assert Subject("work", "who", lambda number: 1_000_000 + 7 * number).instructions() == 7


def test_all_that_was_kept_of_a_program_is_added_up(tmp_path: Path) -> None:
    (tmp_path / "counted").write_text("events: Ir\nsummary: 3\ntotals: 3\n")
    (tmp_path / "counted.1").write_text("events: Ir\ntotals: 40\n")
    assert Counter(tmp_path).total() == 43


def subject(work: str) -> Subject:
    return next(each for each in subjects() if each.work == work)


@needs_valgrind
@pytest.mark.parametrize("work", [works.ACKNOWLEDGE, posting.WORK])
def test_a_program_is_counted_while_it_works(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "FEW", 50)
    assert subject(work).count(100) > 100 * 10_000


@needs_valgrind
def test_the_same_work_takes_the_same_again() -> None:
    once, again = (subject(f"Redis: {works.RESERVE}").count(400) for _ in range(2))
    assert once == pytest.approx(again, rel=0.05)
