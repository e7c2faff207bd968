"""`python -m tests.e2e kind|process|soak`: arguments in, report out, exit status 0 if every demand was met."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from eventcore.testing import available_kinds

from . import catalogue, report
from .driver import Broken, Driver
from .kind.driver import Cluster
from .kind.ground import Ground
from .kind.settings import Settings
from .kind.tools import Tools
from .processes import Processes
from .running import run
from .soak import soak


def main() -> int:
    """Do what was asked for; the exit status."""
    options = _parser().parse_args()
    try:
        rows = asyncio.run(options.go(options))
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    except Broken as error:
        print(error, file=sys.stderr)
        return 1
    report.write(rows, options.report)
    print(f"\n{report.table(rows)}\n\nwritten to {options.report}")
    return 0 if rows and all(row.good for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description="The suite: one ledger, two drivers.")
    commands = parser.add_subparsers(required=True)
    for name, go, text in (
        ("kind", _on_kind, "on Kubernetes: on kind, or on the cluster that E2E_CONTEXT names"),
        ("process", _on_processes, "on processes, as in `make test`"),
    ):
        command = commands.add_parser(name, help=text, description=f"Play scenarios {text}.")
        command.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="S1 S5 …; all of them if none is named")
        command.add_argument("--times", type=int, default=1, help="play each so often")
        command.set_defaults(go=go, seed=1)
        if name == "process":
            _server(command)
        _common(command, orders=None, rate=None)
    command = commands.add_parser("soak", help="the long run, on processes", description="Disturb for minutes.")
    command.add_argument("--seconds", type=float, default=0.0, help="last so long at least")
    command.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of everything random in it")
    command.set_defaults(go=_soak)
    _server(command)
    _common(command, orders=20_000, rate=60.0)
    return parser


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server", choices=available_kinds(), default="valkey", help="which server to run on")


def _common(command: argparse.ArgumentParser, *, orders: int | None, rate: float | None) -> None:
    command.add_argument("--orders", type=int, default=orders, help="post so many at least")
    command.add_argument("--rate", type=float, default=rate, help="orders a second")
    command.add_argument("--report", type=Path, default=report.DEFAULT_PATH, help="where to write the report, as JSON")


async def _on_kind(options: argparse.Namespace) -> list[report.Row]:
    chosen = catalogue.on("kind", tuple(options.scenarios))
    tools = Tools(Settings.read(os.environ))
    ground, cluster = Ground(tools), Cluster(tools)
    try:
        await ground.prepare()
        return await _play(chosen, lambda: cluster, options, goes_on=lambda: cluster.installation.present)
    finally:
        if tools.settings.keep:
            print(f"» everything is kept, in namespace {tools.settings.namespace} of {tools.context}")
            await cluster.leave()
        else:
            await take_away(cluster.remove, ground.remove)


async def take_away(*removals: Callable[[], Awaitable[None]]) -> None:
    """Remove what was made; what can't be is told, and costs nobody the report."""
    for remove in removals:
        try:
            await remove()
        except Broken as error:
            print(f"» something is left behind: {error}", file=sys.stderr)


async def _on_processes(options: argparse.Namespace) -> list[report.Row]:
    chosen = catalogue.on("process", tuple(options.scenarios))
    with tempfile.TemporaryDirectory(prefix="e2e-") as directory:
        numbers = itertools.count(1)

        def start() -> Processes:
            return Processes(Path(directory) / str(next(numbers)), server=options.server)

        return await _play(chosen, start, options)


async def _soak(options: argparse.Namespace) -> list[report.Row]:
    scenario = soak(orders=options.orders, seconds=options.seconds, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="e2e-") as directory:
        options.times = 1
        return await _play([scenario], lambda: Processes(Path(directory), server=options.server), options)


async def _play(
    scenarios: Sequence[catalogue.Scenario],
    driver: Callable[[], Driver],
    options: argparse.Namespace,
    *,
    goes_on: Callable[[], bool] = lambda: True,
) -> list[report.Row]:
    rows: list[report.Row] = []
    artefacts = options.report.parent / "artefacts"
    for scenario in [scenario for scenario in scenarios for _ in range(options.times)]:
        print(f"\n» {scenario.name}: {scenario.title}", flush=True)
        row = await run(driver(), scenario, artefacts, rate=options.rate, orders=options.orders, seed=options.seed)
        rows.append(row)
        print(f"{report.table([row])}\n{_details(row)}", flush=True)
        if not row.good:
            print(f"what may tell why is in {artefacts / scenario.name}", flush=True)
        if not goes_on():
            print("there is no system to go on with", flush=True)
            break
    return rows


def _details(row: report.Row) -> str:
    slowest = sorted(row.recoveries.items(), key=lambda each: -each[1])[:5]
    return "\n".join(
        [*(f"  {what}: {seconds:.1f} s" for what, seconds in slowest), *(f"  {note}" for note in row.notes)]
    )


if __name__ == "__main__":
    sys.exit(main())
