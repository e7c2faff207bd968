"""What goes wrong in a row: a program, a connection or the server dies, and whatever died is started again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .proxy import Command, Line, Trap
from .rows import Cut, Point, Row
from .shop import Shop

Act = Callable[[Command, Line], Awaitable[None]]

# Who is killed here comes back under the same name, as in a StatefulSet; else under a new one, as in a Deployment.
_RETURNING = (Point.DELIVERED, Point.COMMITTING, Point.DONE)
_PATIENCE = 10.0


def strike(shop: Shop, row: Row) -> Act:
    """What the row does to whoever sent the command, and to its connection in any case."""

    async def cut_and_strike(command: Command, line: Line) -> None:
        line.cut()
        if row.cut is not Cut.CONNECTION or row.point is Point.RUNNING:
            await strike_pod(shop, row, command.pod)

    return cut_and_strike


async def strike_pod(shop: Shop, row: Row, pod: str) -> None:
    """What the row does, whatever the program is doing just now."""
    match row.cut:
        case Cut.CONNECTION:
            shop.proxy.cut(lambda line: line.sender.endswith(f":{pod}"))
        case Cut.PROCESS:
            replace(shop, pod, returning=row.point in _RETURNING)
        case Cut.SERVER:
            await asyncio.to_thread(shop.server.kill)
            await asyncio.to_thread(shop.server.start)
            await shop.redis.connection_pool.disconnect()


async def note(command: Command, line: Line) -> None:
    """Do nothing: all that matters is who sent the command."""


def kill(shop: Shop) -> Act:
    """Kill the process that sent the command; another one takes its place."""

    async def kill_process(command: Command, line: Line) -> None:
        line.cut()
        replace(shop, command.pod)

    return kill_process


def replace(shop: Shop, pod: str, *, returning: bool = False) -> None:
    """SIGKILL one process and start another."""
    dead = shop.pods.kill(pod)
    shop.pods.start(dead.service, pod if returning else None)


async def sprung(trap: Trap) -> Command:
    """Wait for a trap; the command that it was sprung by."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await trap.sprung
    except TimeoutError:
        raise AssertionError(f"nothing came by {trap.moment.value}") from None


def client(shop: Shop) -> Redis:
    """A client that goes through the proxy and repeats nothing by itself."""
    return Redis.from_url(shop.proxy.url, protocol=2, retry=Retry(NoBackoff(), 0))


async def redriving_program(shop: Shop, stream: str) -> asyncio.subprocess.Process:
    """`eventcore dlq redrive`, started."""
    arguments = ("-m", "eventcore", "dlq", "redrive", stream, "--all")
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={"REDIS_URL": shop.proxy.url}, stdout=asyncio.subprocess.DEVNULL
    )
