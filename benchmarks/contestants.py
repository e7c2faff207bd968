"""The contestants: each work done by eventcore and by hand, on a server that is otherwise empty."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from eventcore import Consumer, Origin, Router, Settings, Store, encode, load

from . import handwritten
from .works import acknowledging, orders, payloads, piping, plenty, products, reserving

Timed = Callable[[], Awaitable[None]]
# Prepares the server, and returns what is to be timed.
Contestant = Callable[[str, int], Awaitable[Timed]]


def _store(url: str) -> Store:
    return Store(load(Settings, redis_url=url, pod_name="bench"), source="bench")


async def _fill(url: str, count: int) -> None:
    redis = Redis.from_url(url, protocol=2)
    await redis.hset("stock", mapping={f"{product}:available": plenty for product in products})
    await handwritten.publish_batched(redis, payloads(count))
    await redis.aclose()


async def publish_awaiting(url: str, count: int) -> Timed:
    """64 tasks, each awaiting its own publish."""
    events = orders(count)

    async def work() -> None:
        remaining = iter(events)
        async with _store(url) as store:

            async def one() -> None:
                for event in remaining:
                    await store.publish(event)

            await asyncio.gather(*(one() for _ in range(64)))

    return work


async def publish_batched(url: str, count: int) -> Timed:
    """Batches of 500."""
    events = orders(count)

    async def work() -> None:
        async with _store(url) as store:
            for first in range(0, count, 500):
                await store.publish_all(events[first : first + 500])

    return work


def consuming(make: Callable[[], Router]) -> Contestant:
    """A consumer with this router, until nothing is left."""

    async def prepare(url: str, count: int) -> Timed:
        await _fill(url, count)

        async def work() -> None:
            async with _store(url) as store:
                consumer = Consumer(store, make())
                running = asyncio.create_task(consumer.run())
                while True:
                    await asyncio.sleep(0.01)
                    rows = await store.redis.xinfo_groups("orders_stream") if consumer.joined else []
                    if any(row["entries-read"] == count and row["pending"] == 0 for row in rows):
                        break
                consumer.stop()
                await running

        return work

    return prepare


def by_hand_publishing(
    publish: Callable[..., Awaitable[None]],
) -> Contestant:
    """The hand-written publishers, encoding included."""

    async def prepare(url: str, count: int) -> Timed:
        events, origin = orders(count), Origin.new("handwritten")

        async def work() -> None:
            redis = Redis.from_url(url, protocol=2, max_connections=100)
            await publish(redis, [encode(event, origin) for event in events])
            await redis.aclose()

        return work

    return prepare


def by_hand_consuming(handle: handwritten.Handle) -> Contestant:
    """The hand-written consuming loop with one of its handlers."""

    async def prepare(url: str, count: int) -> Timed:
        await _fill(url, count)

        async def work() -> None:
            redis = Redis.from_url(url, protocol=2)
            await handwritten.consume(redis, count, handle)
            await redis.aclose()

        return work

    return prepare


# Each work: who does it, and the key whose length proves that it was done (a stream, and how long it must be).
works: dict[str, dict[str, Contestant]] = {
    "publish, 64 awaiters": {
        "eventcore": publish_awaiting,
        "redis-py by hand": by_hand_publishing(handwritten.publish_awaiting),
    },
    "publish, batched": {
        "eventcore": publish_batched,
        "redis-py by hand": by_hand_publishing(handwritten.publish_batched),
    },
    "consume, acknowledge": {
        "eventcore": consuming(acknowledging),
        "redis-py by hand": by_hand_consuming(handwritten.acknowledge),
    },
    "consume, publish one, acknowledge": {
        "eventcore": consuming(piping),
        "redis-py by hand": by_hand_consuming(handwritten.pipe),
    },
    "consume, reserve, publish, acknowledge": {
        "eventcore": consuming(reserving),
        "redis-py by hand": by_hand_consuming(handwritten.reserve),
    },
}
