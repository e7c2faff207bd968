"""`make bench`: every work by every contestant, in interleaved rounds; medians, spread and ratios; JSON beside it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from eventcore.testing.server import Server, available_kinds

from . import tables
from .contestants import contestants
from .figures import Runs
from .running import cores, on_core, run
from .works import works

packages = ("redis", "hiredis", "pydantic", "aiohttp", "uvloop", "faststream")


def main() -> None:
    """Measure, print, write."""
    arguments = _arguments()
    console = Console()
    facts = _facts(arguments.server)
    console.print("  ".join(f"{name} {value}" for name, value in facts.items()), style="dim", highlight=False)
    with on_core(0):
        server = Server(kind=arguments.server, append_only=False).start()
    with server:
        runs = _streams(arguments, server.url, console)
    console.print(tables.streams(runs))
    facts["load after"] = _load()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"facts": facts, "runs": runs}, indent=2))
    console.print(f"written to {arguments.json}", style="dim")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--only", default="", help="works whose name contains this")
    parser.add_argument("--who", default="", help="contestants whose name contains this, beside eventcore")
    parser.add_argument("--server", default="valkey", choices=available_kinds())
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    return parser.parse_args()


def _streams(arguments: argparse.Namespace, url: str, console: Console) -> Runs:
    """Who goes first moves on by one from round to round."""
    taking_part = []
    for each in contestants:
        if arguments.who in each.name or each.name == "eventcore":
            if reason := each.missing():
                console.print(f"without {each.name}: {reason}", style="yellow")
            else:
                taking_part.append(each)
    chosen = [work for work in works if arguments.only in work]
    runs: Runs = {work: {each.name: [] for each in taking_part if work in each.works} for work in chosen}
    for number in range(arguments.rounds):
        first = number % len(taking_part)
        for work in chosen:
            for each in taking_part[first:] + taking_part[:first]:
                if work in each.works:
                    with console.status(f"round {number + 1} of {arguments.rounds}: {work}: {each.name}"):
                        runs[work][each.name].append(run(url, each, work, int(arguments.events * each.share)))
    return runs


def _facts(kind: str) -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "python": platform.python_version(),
        "node": _node(),
        "server": kind,
        "machine": platform.machine(),
        "cores": len(cores()) or os.cpu_count(),
        "load": _load(),
        **{name: _version(name) for name in packages},
    }


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
