"""The whole saga, POST to confirmed: two programs as processes, and a load generator in this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aiohttp
from redis.asyncio import Redis

from .works import plenty, products

connections = 64
patience = 120.0


def programs(who: str, url: str, port: int) -> list[tuple[list[str], dict[str, str]]]:
    """Command lines and environments of a contestant's programs."""
    if who == "eventcore":
        common = {"REDIS_URL": url, "HOST": "127.0.0.1", "LOG_LEVEL": "ERROR"}
        return [
            (["-m", "order_service"], {**common, "PORT": str(port)}),
            (["-m", "inventory_service"], {**common, "PORT": str(_free_port())}),
        ]
    return [
        (["-m", "benchmarks.saga_by_hand", "order", url, str(port)], {}),
        (["-m", "benchmarks.saga_by_hand", "inventory", url], {}),
    ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(commands: Sequence[tuple[list[str], dict[str, str]]]) -> Iterator[None]:
    """Run programs; stop them at the end, whatever happens."""
    processes = [subprocess.Popen([sys.executable, *command], env={**os.environ, **more}) for command, more in commands]
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)


async def measure(url: str, who: str, count: int) -> dict[str, float]:
    """Seconds from the first POST until every order is confirmed."""
    redis = Redis.from_url(url, protocol=2)
    await redis.flushall()
    await redis.hset("stock", mapping={f"{product}:available": plenty for product in products})
    port = _free_port()
    with running(programs(who, url, port)):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
            await _ready(session, f"http://127.0.0.1:{port}/readyz")
            await _groups(redis)
            start = time.perf_counter()
            await _post(session, f"http://127.0.0.1:{port}/orders", count)
            posted = time.perf_counter() - start
            await _confirmed(redis, count)
            wall = time.perf_counter() - start
    answer = {"wall": wall, "posted": posted, "outcomes": float(await redis.xlen("inventory_stream"))}
    answer |= {"published": float(await redis.xlen("orders_stream")), "pending": 0.0}
    await redis.aclose()
    return answer


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{url} did not answer 200")


async def _groups(redis: Redis) -> None:
    """Both consumers have joined."""
    deadline = time.monotonic() + patience
    while not (await redis.exists("orders_stream") and await redis.exists("inventory_stream")):
        if time.monotonic() > deadline:
            raise TimeoutError("the consumers did not join")
        await asyncio.sleep(0.05)


async def _post(session: aiohttp.ClientSession, url: str, count: int) -> None:
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            items = [{"productId": products[(number + step * 7) % 100], "quantity": 1} for step in range(3)]
            body = json.dumps({"items": items, "customerId": "VINET"})
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                response.raise_for_status()

    await asyncio.gather(*(client() for _ in range(connections)))


async def _confirmed(redis: Redis, count: int) -> None:
    """The group that confirms has finished with every outcome."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        groups = await redis.xinfo_groups("inventory_stream")
        if await redis.xlen("inventory_stream") >= count and all(
            row["entries-read"] == count and row["pending"] == 0 for row in groups
        ):
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("not every order was confirmed in time")
