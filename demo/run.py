"""From start to stop: bring the system up, replay, judge, show; and take it down whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from enum import Enum

import aiohttp
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape

from . import report
from .addresses import show_addresses
from .checks import check_all
from .evidence import Evidence, gather
from .measures import latencies, rates
from .options import Options
from .orders import Workload
from .progress import asking, replaying
from .replay import Replay, Stuck, replay
from .shop import Shop, UnexpectedAnswer
from .story import choose, tell
from .streams import Streams
from .system import System, SystemFailure
from .tasks import end


class Verdict(Enum):
    """How it went."""

    GOOD = 0
    OFF = 1
    INTERRUPTED = 2


_FAILURES = (SystemFailure, Stuck, UnexpectedAnswer, aiohttp.ClientError, RedisError, TimeoutError)
_PATIENCE = aiohttp.ClientTimeout(total=30)


async def run(
    options: Options,
    ports: Mapping[str, int],
    work: Workload | None,
    console: Console,
    on_interrupt: Callable[[Callable[[], object]], None],
) -> Verdict:
    """Run the demo, or stay up until Ctrl-C; nothing is left running when it returns or raises.

    `ports` has one for each service. `on_interrupt` is told what Ctrl-C is to do from now on.
    """
    began = time.monotonic()
    interrupted = asyncio.Event()
    on_interrupt(interrupted.set)
    try:
        system = System(options, ports)
    except SystemFailure as error:
        _cross(console, error)
        return Verdict.OFF
    verdict = Verdict.OFF
    try:
        verdict = await _until(interrupted, _live(system, options, work, console))
    except _FAILURES as error:
        _cross(console, error)
    finally:
        on_interrupt(system.kill)  # who asks again does not want to wait
        if verdict is Verdict.INTERRUPTED:
            console.print("\n[dim]stopping …[/]")
        problems = await system.stop(keep=verdict is Verdict.OFF)
    if system.killed and verdict is Verdict.GOOD:
        verdict = Verdict.INTERRUPTED
    return _last_words(console, system, verdict, problems, time.monotonic() - began)


async def _until(interrupted: asyncio.Event, work: Coroutine[None, None, Verdict]) -> Verdict:
    """Await the work, but no longer than until the interruption."""
    task, interruption = asyncio.create_task(work), asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait([task, interruption], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else Verdict.INTERRUPTED
    finally:
        await end(task, interruption)


async def _live(system: System, options: Options, work: Workload | None, console: Console) -> Verdict:
    with console.status("starting the embedded server"):
        system.start_server()
    async with aclosing(Streams(system.server.url)) as streams, aiohttp.ClientSession(timeout=_PATIENCE) as session:
        await _bring_up(system, streams, console)
        shop = Shop(session, system.url("order"), system.url("inventory"), system.url("notification"))
        good = work is None or await system.guard(_replay(shop, streams, work, options, console))
        if options.command == "up":
            await show_addresses(console, system, session)
            await system.keep_up(lambda what: console.print(f"\n[yellow]![/] {escape(what)}", soft_wrap=True))
        return Verdict.GOOD if good else Verdict.OFF


async def _bring_up(system: System, streams: Streams, console: Console) -> None:
    version, settings = await streams.server()
    _tick(console, version, f"{system.server.url}  [dim]{settings}[/]")
    with console.status("starting the services"):
        await system.start_services()
    for service in system.services:
        _tick(console, service.name, f"{service.url}  [dim]ready after {service.ready_after:.1f} s[/]")


async def _replay(shop: Shop, streams: Streams, work: Workload, options: Options, console: Console) -> bool:
    requests = await shop.put_stock(work.stock)
    units = sum(work.stock.values())
    how = f"{requests} request{'s' if requests > 1 else ''}"
    _tick(console, "catalogue", f"{len(work.stock):,} products, {units:,} units  [dim]PUT /stock, {how}[/]")
    _tick(console, "orders", f"{escape(work.title)}  [dim]{work.ways}[/]")
    for note in work.notes:
        console.print(f"{'':<24}[dim]{escape(note)}[/]", soft_wrap=True)
    console.print()
    with replaying(console, len(work.orders)) as look:
        run = await replay(shop, streams, work, look)
    with asking(console, len(run.posted)) as asked:
        evidence = await gather(shop, streams, work, run, options.inventory_replicas, asked)
    return await _report(shop, evidence, run, console)


async def _report(shop: Shop, evidence: Evidence, run: Replay, console: Console) -> bool:
    report.show_orders(console, evidence)
    report.show_stock(console, evidence)
    report.show_streams(console, evidence)
    report.show_speed(console, rates(run), latencies(evidence), evidence.workload.connections)
    if order := choose(evidence):
        report.show_story(console, order, tell(evidence, order, await shop.reservation(order.order_id)))
    checks = check_all(evidence)
    report.show_checks(console, checks)
    return all(check.holds for check in checks)


def _last_words(console: Console, system: System, verdict: Verdict, problems: list[str], seconds: float) -> Verdict:
    if verdict is Verdict.GOOD and problems:
        verdict = Verdict.OFF
        for problem in problems:
            console.print(f"[red]✗[/] asked to stop, {escape(problem)}", soft_wrap=True)
    console.print()
    match verdict:
        case Verdict.GOOD:
            console.print(f"[bold green]All is as it should be.[/] [dim]{seconds:.1f} s; everything is stopped.[/]")
        case Verdict.OFF:
            console.print("[bold red]Something is off: see ✗ above.[/] [dim]Everything is stopped.[/]")
            console.print(f"[dim]Logs and data are kept in {system.directory}[/]", soft_wrap=True)
        case Verdict.INTERRUPTED:
            console.print("[dim]Everything is stopped, data and logs are removed.[/]")
    return verdict


def _cross(console: Console, error: Exception) -> None:
    console.print(f"\n[red]✗[/] {escape(str(error) or type(error).__name__)}", soft_wrap=True)


def _tick(console: Console, what: str, detail: str) -> None:
    console.print(f"[green]✓[/] {what:<22}{detail}", soft_wrap=True)
