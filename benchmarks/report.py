"""Writes a run's figures and chart into docs/performance.md: `python -m benchmarks.report [build/bench.json]`.

What stands between the two marks there is written by this program only, so that every figure is one that was measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .chart import chart
from .figures import Runs
from .sheets import Sheet, sheets

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
PICTURE = "performance.svg"
BEGIN, END = "<!-- figures: written by `python -m benchmarks.report` -->", "<!-- end of figures -->"


def main(source: str = "build/bench.json") -> None:
    """Take the figures from one file."""
    measured = json.loads(Path(source).read_text())
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), measured["runs"], measured["facts"]))
    (DOCUMENT.parent / PICTURE).write_text(chart(measured["runs"], measured["facts"]))


def replaced(text: str, runs: Runs, facts: Mapping[str, Any]) -> str:
    """The document with these figures in place of the old ones. Raises `ValueError` where a mark is missing."""
    start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
    return "\n\n".join([text[:start], "\n".join(_lines(runs, facts)), text[stop:]])


def _lines(runs: Runs, facts: Mapping[str, Any]) -> Iterator[str]:
    yield "Measured with " + " · ".join(f"{name} {value}" for name, value in facts.items())
    yield f"\n![What eventcore does in a second, beside its peers]({PICTURE})"
    for sheet in sheets(runs):
        yield from _markdown(sheet)


def _markdown(sheet: Sheet) -> Iterator[str]:
    yield f"\n**{sheet.title}**\n"
    yield _row(sheet.headings)
    yield _row(["---" if number < sheet.left else "--:" for number, _ in enumerate(sheet.headings)])
    yield from map(_row, sheet.rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
