"""`make bench`: every work by every contestant, in interleaved rounds; medians, spread, ratios and goals.

Figures go to a JSON file, and to a chart beside it. The default takes some minutes. ARGS="--full" takes longer runs of
everything; ARGS="--only 'consume, acknowledge; POST'" takes those works only whose names contain one of the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eventcore.testing.server import available_kinds

from .chart import chart
from .plan import Servers, plan
from .rounds import interleaved
from .running import cores
from .sheets import Sheet, sheets

PACKAGES = ("redis", "hiredis", "pydantic", "aiohttp", "uvloop", "faststream")


def main() -> None:
    """Measure, print, write."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 140)
    facts = _facts(options.server)
    _say(console, facts)
    with ExitStack() as stack:
        runs = interleaved(plan(options), Servers(options.server, stack), options.rounds, console)
    facts["load after"] = _load()
    for sheet in sheets(runs):
        console.print(_table(sheet))
    _say(console, facts)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"facts": facts, "runs": runs}, indent=1))
    picture = options.json.with_suffix(".svg")
    picture.write_text(chart(runs, facts))
    console.print(f"written to {options.json} and {picture}", style="dim")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer runs, larger sizes, more rounds")
    parser.add_argument("--rounds", type=int, help="3, or 5 with --full")
    parser.add_argument("--events", type=int, help="20,000, or 100,000 with --full; slow contestants get fewer")
    parser.add_argument("--sustained", type=int, help="orders of the sustained saga; by default half as many as events")
    parser.add_argument("--minutes", type=int, default=0, help="see for so long that memory does not grow under load")
    parser.add_argument("--only", default="", help="works whose names contain one of these, separated by ';'")
    parser.add_argument("--who", default="", help="contestants whose names contain this, and those of ours")
    parser.add_argument("--beside", type=Path, help="a folder with another build of this project, measured as well")
    parser.add_argument("--server", default="valkey", choices=available_kinds())
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.full else 3)
    options.events = options.events or (100_000 if options.full else 20_000)
    options.sustained = options.sustained or (120_000 if options.full else options.events // 2)
    return options


def _table(sheet: Sheet) -> Table:
    """The same for a terminal; what follows from a verdict is its colour, and nothing else."""
    table = Table(title=sheet.title, title_justify="left")
    for number, heading in enumerate(sheet.headings):
        table.add_column(heading, justify="left" if number < sheet.left else "right", no_wrap=number > 0)
    colours = {"met": "green", "not met": "red", "not measured": "dim"}
    grouped = not all(row[0] for row in sheet.rows)
    for number, row in enumerate(sheet.rows):
        if grouped and number and row[0]:
            table.add_section()
        table.add_row(*row, style=colours.get(row[-1]))
    return table


def _facts(kind: str) -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "python": platform.python_version(),
        "node": _node(),
        "server": kind,
        "machine": platform.machine(),
        "cores": len(cores()) or os.cpu_count(),
        "load": _load(),
        **{name: _version(name) for name in PACKAGES},
    }


def _say(console: Console, facts: dict[str, Any]) -> None:
    console.print(" · ".join(f"{name} {value}" for name, value in facts.items()), style="dim", highlight=False)


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _node() -> str:
    try:
        return subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


if __name__ == "__main__":
    main()
