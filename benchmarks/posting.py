"""`POST /orders`: how many a second one process takes, at what cost, and how long one waits at half of that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from redis import Redis

from demo.measures import percentile
from demo.ports import free_port

from . import guarded, load, programs
from .contestants import NODE_FOLDER, OTHER_BUILD, always, node
from .figures import Run
from .programs import Program
from .running import WrongCount, on_core, server_cpu

WORK = "POST /orders"
BARE = "bare aiohttp, no Redis"
NEST = "Nest as in the article"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that takes orders; `keeps` says whether each of them ends up in the stream."""

    name: str
    program: Callable[[str], Program]
    keeps: bool = True
    missing: Callable[[], str | None] = always
    header: Callable[[], bytes] = bytes


def _python(module: str, *arguments: str) -> Callable[[str], Program]:
    def make(url: str) -> Program:
        port = free_port()
        said = [each.format(port=port, url=url) for each in arguments]
        return Program([sys.executable, "-m", f"benchmarks.{module}", *said], port=port)

    return make


def _node(name: str) -> Callable[[str], Program]:
    def make(url: str) -> Program:
        port = free_port()
        return Program(["node", str(NODE_FOLDER / name), str(port), url], port=port)

    return make


CONTESTANTS = (
    Contestant("eventcore", lambda url: programs.service("order_service", url)),
    Contestant(BARE, _python("bare", "{port}"), keeps=False),
    Contestant("aiohttp and redis-py by hand", _python("saga_by_hand", "order", "{url}", "{port}")),
    Contestant(NEST, _node("nest.mjs"), missing=node),
    Contestant("fastify, pipelined", _node("fastify.mjs"), missing=node),
)
# What is off by default, measured in the same run.
GUARDED = (
    *(
        Contestant(
            f"eventcore, {algorithm} tokens",
            lambda url, algorithm=algorithm: guarded.issuer(algorithm).program(url),  # type: ignore[misc]
            header=lambda algorithm=algorithm: guarded.issuer(algorithm).header,  # type: ignore[misc]
        )
        for algorithm in guarded.KEYS
    ),
    Contestant("eventcore, rates limited", guarded.limited),
)


def beside(folder: Path | None) -> tuple[Contestant, ...]:
    """The order service as checked out in another folder, where one is named."""
    if folder is None:
        return ()
    python = str(folder.resolve() / ".venv/bin/python")
    return (Contestant(OTHER_BUILD, lambda url: programs.service("order_service", url, python=python)),)


def measure(url: str, contestant: Contestant, count: int) -> Run:
    """The program has a core for itself; Redis and the load generator share the other.

    Raises `WrongCount` unless as many orders are in the stream as were accepted.
    """
    redis = Redis.from_url(url, protocol=2)
    redis.flushall()
    program, header = contestant.program(url), contestant.header()
    with programs.running([program], core=1) as [pid], on_core(0):
        uvloop.run(drive(program.port, count // 10, header))  # just-in-time compilers, pools, caches
        before, server_before = programs.cpu(pid), server_cpu(redis)
        wall, _ = uvloop.run(drive(program.port, count, header))
        used, server_used = programs.cpu(pid) - before, server_cpu(redis) - server_before
        _, latencies = uvloop.run(drive(program.port, count // 2, header, rate=count / wall / 2))
        peak = programs.memory(pid, "VmHWM")
    kept, posted = redis.xlen("orders_stream"), count // 10 + count + count // 2
    if contestant.keeps and kept != posted:
        raise WrongCount(f"{WORK}, {contestant.name}: {kept:,} of {posted:,} orders are in the stream")
    return {
        "count": count,
        "wall": wall,
        "cpu": used,
        "server": server_used,
        "p50": percentile(latencies, 50) * 1000,
        "p99": percentile(latencies, 99) * 1000,
        "megabytes": peak,
    }


async def drive(port: int, count: int, header: bytes = b"", *, rate: float | None = None) -> tuple[float, list[float]]:
    """Post so many orders, as fast as possible or so many a second; the seconds that all took, and each."""
    client = load.Client(load.order_requests(count, header))
    await client.connect(port)
    try:
        wall = await (client.as_fast_as_possible() if rate is None else client.at_rate(rate))
    finally:
        client.close()
    return wall, client.latencies
