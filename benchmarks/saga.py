"""The whole saga, from POST to confirmed and notified: three programs, Redis and this load generator on one machine."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop
from pydantic_core import from_json
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from demo.measures import percentile
from demo.ports import free_port

from . import load, programs
from .figures import Run
from .programs import Program
from .running import WrongCount
from .works import PLENTY, PRODUCTS

WORK = "whole saga"
OURS, BY_HAND = "eventcore", "aiohttp and redis-py by hand"
# Orders that may be under way at once: enough for full batches, few enough for a stable lag.
WINDOW = 1_000
# Of so many orders, one is watched until it is confirmed.
WATCHED = 10
PATIENCE = 120.0
_LAST_GROUPS = ("order-group", "notification-group")


def shop(who: str, url: str) -> list[Program]:
    """A contestant's three programs; the first takes the orders."""
    if who == OURS:
        return [programs.service(module, url) for module in programs.SERVICES]
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.saga_by_hand"]
    return [
        Program([*command, "order", url, str(port)], port=port),
        *(Program([*command, role, url]) for role in ("inventory", "notification")),
    ]


def measure(url: str, who: str, count: int, *, rate: float | None = None) -> Run:
    """Run `count` orders through, as many as there is room for, or so many a second.

    Raises `WrongCount` unless every order has its outcome, and nothing is pending.
    """
    uvloop.run(_stock(url))
    shop_programs = shop(who, url)
    with programs.running(shop_programs) as pids:
        before = [programs.cpu(pid) for pid in pids]
        run, memory = uvloop.run(_drive_and_watch(url, shop_programs[0].port, count, rate, pids))
        used = [programs.cpu(pid) - cpu for pid, cpu in zip(pids, before, strict=True)]
        run["megabytes"] = max(programs.memory(pid, "VmHWM") for pid in pids)
        if all(memory[0]):
            run["memory grown"] = growth(memory)
    return {**run, "count": count, "cpu": sum(used), "cpu of each": used}


def growth(memory: Sequence[Sequence[float]]) -> float:
    """How many times what they held after a sixth of the time programs hold at the end; the worst of them."""
    early, late = memory[len(memory) // 6], memory[-1]
    return max(end / start for start, end in zip(early, late, strict=True))


async def _stock(url: str) -> None:
    redis = Redis.from_url(url, protocol=2)
    await redis.flushall()
    await redis.hset("stock", mapping={f"{product}:available": PLENTY for product in PRODUCTS})
    await redis.aclose()


async def _drive_and_watch(
    url: str, port: int, count: int, rate: float | None, pids: Sequence[int]
) -> tuple[Run, list[list[float]]]:
    """The run, and the megabytes that each program held from second to second."""
    memory: list[list[float]] = []

    async def watch() -> None:
        while True:
            memory.append([programs.memory(pid) for pid in pids])
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    try:
        return await _drive(url, port, count, rate), memory
    finally:
        watching.cancel()


async def _drive(url: str, port: int, count: int, rate: float | None) -> Run:
    redis, watch = Redis.from_url(url, protocol=2), _Watch()
    await _joined(redis)
    client = load.Client(load.order_requests(count), watch.accepted)
    await client.connect(port)
    server_before, start = await _server_cpu(redis), time.perf_counter()
    watch.started, watch.rate = start, rate
    posting = asyncio.create_task(client.wait() if rate is None else client.at_rate(rate))
    lags: list[int] = []
    while (finished := await _finished(redis)) < count:
        lags.append(client.answered - finished)
        if rate is None:
            client.allow(finished + WINDOW)
        else:
            await watch.look(redis)
        if posting.done():
            posting.result()
        if time.perf_counter() - start > PATIENCE + count / 100:
            raise WrongCount(f"{WORK}: {finished:,} of {count:,} orders came to their end in time")
        await asyncio.sleep(0.002)
    wall = time.perf_counter() - start
    await posting
    await watch.look(redis)
    client.close()
    run = {"wall": wall, "most under way": max(lags, default=0), "server": await _server_cpu(redis) - server_before}
    await _verify(redis, count)
    await redis.aclose()
    return run | _latencies("posted", client.latencies) | _latencies("confirmed", watch.latencies)


def _latencies(name: str, seconds: Sequence[float]) -> Run:
    return {f"{name} p{percent}": percentile(seconds, percent) * 1000 for percent in (50, 99) if seconds}


class _Watch:
    """How long some of the orders took from when their POST was due until they could be seen to be confirmed."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.started = 0.0
        self.rate: float | None = None
        self._open: dict[str, float] = {}

    def accepted(self, number: int, body: bytes) -> None:
        if self.rate is not None and number % WATCHED == 0:
            self._open[from_json(body)["id"]] = self.started + number / self.rate

    async def look(self, redis: Any) -> None:
        """See which have been confirmed."""
        asked = list(self._open)
        pipeline: Pipeline = redis.pipeline(transaction=False)
        for order_id in asked:
            pipeline.hget(f"order:{order_id}", "status")
        for order_id, status in zip(asked, await pipeline.execute() if asked else (), strict=True):
            if status == b"confirmed":
                self.latencies.append(time.perf_counter() - self._open.pop(order_id))


async def _joined(redis: Any) -> None:
    """All consumers have joined."""
    deadline = time.monotonic() + PATIENCE
    while await _groups(redis, "orders_stream") < 1 or await _groups(redis, "inventory_stream") < len(_LAST_GROUPS):
        if time.monotonic() > deadline:
            raise WrongCount("the consumers did not join")
        await asyncio.sleep(0.05)


async def _groups(redis: Any, stream: str) -> int:
    return len(await redis.xinfo_groups(stream)) if await redis.exists(stream) else 0


async def _finished(redis: Any) -> int:
    """Orders that both of the last groups have finished with."""
    rows = await redis.xinfo_groups("inventory_stream")
    return int(min((row["entries-read"] or 0) - row["pending"] for row in rows))


async def _server_cpu(redis: Any) -> float:
    used = await redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


async def _verify(redis: Any, count: int) -> None:
    left = sum(map(int, await redis.hmget("stock", [f"{product}:available" for product in PRODUCTS])))
    taken = PLENTY * len(PRODUCTS) - left
    states = [key async for key in redis.scan_iter("order:*", count=10_000)]
    pending = sum(row["pending"] for row in await redis.xinfo_groups("orders_stream"))
    if len(states) != count or pending or taken != 3 * count:
        raise WrongCount(f"{WORK}: {len(states):,} of {count:,} orders, {pending:,} pending, {taken:,} taken")
