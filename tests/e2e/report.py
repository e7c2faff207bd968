"""The report: one row a scenario, for people as a table and for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

DEFAULT_PATH = Path("build/e2e/report.json")
_COLUMNS = (
    "",
    "scenario",
    "accepted",
    "final",
    "lost",
    "doubled",
    "redelivered",
    "fenced",
    "recovery",
    "slowest order",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one scenario. Times are in seconds.

    `redelivered` counts attempts beyond the first, `fenced` deliveries that came too late and changed nothing,
    `failed_requests` attempts at posting that failed, whatever became of the order. `recoveries` are the times from
    each disturbance until the flow of orders was whole again; `slowest_order` is the longest from POST to notification.
    """

    scenario: str
    title: str
    driver: str
    accepted: int = 0
    final: int = 0
    lost: int = 0
    doubled: int = 0
    redelivered: int = 0
    fenced: int = 0
    failed_requests: int = 0
    recoveries: dict[str, float] = field(default_factory=dict)
    slowest_order: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    skipped: str | None = None

    @property
    def good(self) -> bool:
        """Whether all demands are met."""
        return not self.problems

    @property
    def slowest_recovery(self) -> float:
        """The longest that the flow took to be whole again."""
        return max(self.recoveries.values(), default=0.0)


_ROWS = TypeAdapter(list[Row])


def table(rows: Sequence[Row]) -> str:
    """The rows for people, and below what is amiss."""
    lines = [_COLUMNS, *map(_cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_COLUMNS))]
    text = [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    for row in rows:
        text += [f"{row.scenario}: not run: {row.skipped}"] if row.skipped else []
        text += [f"{row.scenario}: FAILED: {problem}" for problem in row.problems[:20]]
        if (more := len(row.problems) - 20) > 0:
            text.append(f"{row.scenario}: … and {more} more problems")
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.accepted, row.final, row.lost, row.doubled, row.redelivered, row.fenced)
    times = (f"{row.slowest_recovery:.1f} s", f"{row.slowest_order:.1f} s")
    return (row.scenario, row.title, *map(str, counts), *times)


def write(rows: Sequence[Row], path: Path) -> None:
    """The rows for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = [{**asdict(row), "slowest_recovery": row.slowest_recovery, "good": row.good} for row in rows]
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> list[Row]:
    """Rows that were written; none where nothing was."""
    if not path.exists():
        return []
    return _ROWS.validate_json(path.read_bytes())
