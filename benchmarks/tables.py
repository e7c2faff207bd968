"""The figures as tables for people."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.table import Table

from . import figures
from .figures import Run, Runs

ours = "eventcore"


def streams(runs: Runs) -> Table:
    """Each work by each contestant, and how eventcore compares with them."""
    table = Table(title="median events a second (lowest to highest); CPU in ms for 1,000 events, and the server's")
    for heading in ("work", "who", "events/s", "CPU", "server", "ours, times this: rate", "CPU"):
        table.add_column(heading, justify="left" if heading in ("work", "who") else "right")
    for work, by_whom in runs.items():
        for who, measured in by_whom.items():
            table.add_row(work if who == next(iter(by_whom)) else "", who, *_row(by_whom, who, measured))
        table.add_section()
    return table


def _row(by_whom: Mapping[str, Sequence[Run]], who: str, measured: Sequence[Run]) -> list[str]:
    rates, mine = figures.rates(measured), by_whom.get(ours, ())
    compared = ["", ""]
    if mine and who != ours:
        compared = [f"{figures.ratio(mine, measured, of):.2f}" for of in (figures.rate, figures.cost)]
    return [
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        _or_nothing(figures.cpu(measured)),
        _or_nothing(figures.cpu(measured, "server")),
        *compared,
    ]


def _or_nothing(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
