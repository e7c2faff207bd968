"""eventcore: each work as its documents say that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from eventcore import Consumer, Router, Settings, Store, load

from . import works
from .ports import Timed, Work


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

            await asyncio.gather(*(one() for _ in range(works.awaiters)))

    return work


async def publish_batched(url: str, count: int) -> Timed:
    """Batches of 500."""
    events = works.orders(count)

    async def work() -> None:
        async with store(url) as bus:
            for first in range(0, count, works.batch):
                await bus.publish_all(events[first : first + works.batch])

    return work


def consuming(make: Callable[[], Router]) -> Work:
    """A consumer with this router, until nothing is left."""

    async def prepare(url: str, count: int) -> Timed:
        async def work() -> None:
            async with store(url) as bus:
                consumer = Consumer(bus, make())
                running = asyncio.create_task(consumer.run())
                while not (consumer.joined and await _finished(bus, count)):  # noqa: ASYNC110 - only the server knows
                    await asyncio.sleep(0.01)
                consumer.stop()
                await running

        return work

    return prepare


async def _finished(bus: Store, count: int) -> bool:
    rows = await bus.redis.xinfo_groups("orders_stream")
    return any(row["entries-read"] == count and row["pending"] == 0 for row in rows)


contestants = {
    "eventcore": {
        works.publish_awaiting: publish_awaiting,
        works.publish_batched: publish_batched,
        works.acknowledge: consuming(works.acknowledging),
        works.pipe: consuming(works.piping),
        works.reserve: consuming(works.reserving),
    }
}
