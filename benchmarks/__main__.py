"""`make bench`: every work by every contestant, in interleaved rounds; medians, spread and ratios; JSON beside it.

`ARGS="--rounds 7 --events 50000 --only saga --json build/bench.json"` changes what is done.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eventcore.testing.server import Server, available_kinds

from .contestants import works

ours, theirs = "eventcore", "redis-py by hand"
contestants = {**{work: tuple(who) for work, who in works.items()}, "saga": (ours, theirs)}
packages = ("redis", "hiredis", "pydantic", "aiohttp", "uvloop")


def main() -> None:
    """Measure, print, write."""
    arguments = _arguments()
    chosen = {work: who for work, who in contestants.items() if arguments.only in work}
    runs: dict[str, dict[str, list[dict[str, float]]]] = {work: {who: [] for who in chosen[work]} for work in chosen}
    console = Console()
    with Server(kind=arguments.server, append_only=False) as server:
        for number in range(arguments.rounds):
            for work, whos in chosen.items():
                # Who goes first changes from round to round.
                for who in whos if number % 2 else reversed(whos):
                    count = arguments.events // 5 if work == "saga" else arguments.events
                    runs[work][who].append({"count": count, **_run(server.url, work, who, count)})
                    console.print(f"round {number + 1}/{arguments.rounds}  {work}  {who}", style="dim")
    console.print(_table(runs))
    facts = _facts(arguments.server)
    console.print("  ".join(f"{name} {value}" for name, value in facts.items()), style="dim")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"facts": facts, "runs": runs}, indent=2))
    console.print(f"written to {arguments.json}", style="dim")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--only", default="", help="works whose name contains this")
    parser.add_argument("--server", default="valkey", choices=available_kinds())
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    return parser.parse_args()


def _run(url: str, work: str, who: str, count: int) -> dict[str, float]:
    """Run one contestant in a process of its own, and see that it has done the whole work."""
    command = [sys.executable, "-m", "benchmarks.child", url, work, who, str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    answer: dict[str, float] = json.loads(output)
    publishes_outcomes = work.startswith("consume, ") and work != "consume, acknowledge"
    expected = {"published": count, "pending": 0}
    if publishes_outcomes or work == "saga":
        expected["outcomes"] = count
    for name, value in expected.items():
        if answer[name] != value:
            raise SystemExit(f"{work}, {who}: {name} is {answer[name]}, not {value}: the figures would be wrong")
    return answer


def _table(runs: dict[str, dict[str, list[dict[str, float]]]]) -> Table:
    table = Table(title="events a second: median (lowest to highest); CPU of the client in ms per 1,000 events")
    for heading in ("work", "who", "events/s", "CPU ms/1,000", f"ratio to {theirs}", "ratio of CPU"):
        table.add_column(heading, justify="left" if heading in ("work", "who") else "right")
    for work, by_whom in runs.items():
        base_rate = statistics.median(_rates(by_whom[theirs]))
        base_cpu = _cpu(by_whom[theirs])
        for who, measured in by_whom.items():
            rates, cpu = _rates(measured), _cpu(measured)
            rate = statistics.median(rates)
            table.add_row(
                work,
                who,
                f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
                "" if cpu is None else f"{cpu:.1f}",
                "" if who == theirs else f"{rate / base_rate:.2f}",
                "" if who == theirs or cpu is None or base_cpu is None else f"{cpu / base_cpu:.2f}",
            )
    return table


def _rates(measured: list[dict[str, float]]) -> list[float]:
    return [run["count"] / run["wall"] for run in measured]


def _cpu(measured: list[dict[str, float]]) -> float | None:
    """The median; `None` for the saga, whose work is spread over processes."""
    used = [run["cpu"] / run["count"] * 1_000_000 for run in measured if "cpu" in run]
    return statistics.median(used) if used else None


def _facts(kind: str) -> dict[str, str]:
    """What the figures belong to."""
    return {
        "python": platform.python_version(),
        "server": kind,
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()),
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
