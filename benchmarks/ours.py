"""eventcore: each work as its documents say that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from redis.asyncio import Redis

from eventcore import Consumer, Router, Settings, Store, load

from . import works
from .shapes import Timed, Work


def store(url: str) -> Store:
    """A store whose consumers are called after this process."""
    return Store(load(Settings, redis_url=url), source="bench")


async def publish_awaiting(url: str, count: int) -> Timed:
    """64 tasks, each awaiting its own publish."""
    remaining = iter(works.orders(count))

    async def work() -> None:
        async with store(url) as bus:

            async def one() -> None:
                for event in remaining:
                    await bus.publish(event)

            await asyncio.gather(*(one() for _ in range(works.AWAITERS)))

    return work


async def publish_batched(url: str, count: int) -> Timed:
    """Batches of 500."""
    events = works.orders(count)

    async def work() -> None:
        async with store(url) as bus:
            for first in range(0, count, works.BATCH):
                await bus.publish_all(events[first : first + works.BATCH])

    return work


def consuming(make: Callable[[], Router]) -> Work:
    """A consumer with this router, until nothing is left."""
    return consuming_all(lambda: [make()])


def consuming_all(make: Callable[[], Sequence[Router]], *, store: Callable[[str], Store] = store) -> Work:
    """A consumer with each of these routers, until all groups have read everything, and finished what was theirs."""

    async def prepare(url: str, count: int) -> Timed:
        routers, before = make(), await _pending(url)

        async def work() -> None:
            async with store(url) as bus:
                consumers = [Consumer(bus, router) for router in routers]
                running = [asyncio.create_task(consumer.run()) for consumer in consumers]
                while not (  # noqa: ASYNC110 - only the server knows
                    all(consumer.joined for consumer in consumers) and await _finished(bus, before)
                ):
                    await asyncio.sleep(0.01)
                for consumer in consumers:
                    consumer.stop()
                await asyncio.gather(*running)

        return work

    return prepare


async def _pending(url: str) -> dict[bytes, int]:
    """What is pending already, for consumers that are not ours, by group."""
    async with Redis.from_url(url, protocol=2) as redis:
        exists = await redis.exists("orders_stream")
        return {row["name"]: row["pending"] for row in await redis.xinfo_groups("orders_stream")} if exists else {}


async def _finished(bus: Store, before: Mapping[bytes, int]) -> bool:
    rows = await bus.redis.xinfo_groups("orders_stream")
    return all(row["lag"] == 0 and row["pending"] == before.get(row["name"], 0) for row in rows)


CONTESTANTS = {
    "eventcore": {
        works.PUBLISH_AWAITING: publish_awaiting,
        works.PUBLISH_BATCHED: publish_batched,
        works.ACKNOWLEDGE: consuming(works.acknowledging),
        works.PIPE: consuming(works.piping),
        works.RESERVE: consuming(works.reserving),
    }
}
