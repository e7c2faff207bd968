"""What an experienced hand writes with redis-py alone: batches of 500, one pipeline a batch, one XACK a batch.

It is at-least-once: state, events and acknowledgement leave in one pipeline, but a crash between two of its commands
leaves half of the work, and nothing stops a second delivery from doing it again. `one_by_one` is what most hands write
first: it awaits every command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from pydantic_core import from_json
from redis.asyncio import Redis

from contracts import OrderCreated
from eventcore import Origin, decode, encode

from . import works
from .shapes import Contestants, Timed, Work

Fields = Mapping[bytes, bytes]
Read = Callable[[Fields], OrderCreated]
Handle = Callable[[Any, OrderCreated], None]

_ORIGIN = Origin.new("by-hand")


def validated(fields: Fields) -> OrderCreated:
    """Only what is needed: the data, through the same pydantic model."""
    return OrderCreated.model_validate(from_json(fields[b"event"])["data"])


def by_our_codec(fields: Fields) -> OrderCreated:
    """Everything that eventcore reads: metadata and version too."""
    return cast(OrderCreated, decode(fields).open(OrderCreated))


def acknowledge(pipeline: Any, order: OrderCreated) -> None:
    """Nothing but the acknowledgement."""


def pipe(pipeline: Any, order: OrderCreated) -> None:
    """Publish one."""
    pipeline.xadd("inventory_stream", {"event": encode(works.reserved(order), _ORIGIN)})


def reserve(pipeline: Any, order: OrderCreated) -> None:
    """Three decrements, one record, one event; no guard can be expressed this way."""
    for line in order.items:
        pipeline.hincrby("stock", f"{line.product_id}:available", -line.quantity)
    pipeline.hset(f"reservation:{order.order_id}", "status", "reserved")
    pipe(pipeline, order)


async def publish_awaiting(url: str, count: int) -> Timed:
    """64 tasks, each awaiting its own XADD, as in a web service."""
    remaining = iter(works.orders(count))

    async def work() -> None:
        redis = Redis.from_url(url, protocol=2, max_connections=100)

        async def one() -> None:
            for order in remaining:
                await redis.xadd("orders_stream", {"event": encode(order, _ORIGIN)})

        await asyncio.gather(*(one() for _ in range(works.AWAITERS)))
        await redis.aclose()

    return work


async def publish_batched(url: str, count: int) -> Timed:
    """One pipeline for each 500 events."""
    orders = works.orders(count)

    async def work() -> None:
        redis = Redis.from_url(url, protocol=2)
        for first in range(0, count, works.BATCH):
            pipeline = redis.pipeline(transaction=False)
            for order in orders[first : first + works.BATCH]:
                pipeline.xadd("orders_stream", {"event": encode(order, _ORIGIN)})
            await pipeline.execute()
        await redis.aclose()

    return work


def batched(read: Read, handle: Handle) -> Work:
    """Read, decode, handle, acknowledge, until `count` events are done: one pipeline for each 500 events."""

    async def prepare(url: str, count: int) -> Timed:
        async def work() -> None:
            redis, done = Redis.from_url(url, protocol=2), 0
            await redis.xgroup_create("orders_stream", works.GROUP, id="0", mkstream=True)
            while done < count:
                for _, entries in await _read(redis):
                    pipeline = redis.pipeline(transaction=False)
                    for _, fields in entries:
                        handle(pipeline, read(fields))
                    pipeline.xack("orders_stream", works.GROUP, *(entry_id for entry_id, _ in entries))
                    await pipeline.execute()
                    done += len(entries)
            await redis.aclose()

        return work

    return prepare


async def guarded(url: str, count: int) -> Timed:
    """The reservation in batches, with its guards: all are read in one pipeline, all that holds is written in another.

    Between the two, somebody else may take the same pieces. These are the single commands that a guarded commit needs.
    """

    async def work() -> None:
        redis, done = Redis.from_url(url, protocol=2), 0
        await redis.xgroup_create("orders_stream", works.GROUP, id="0", mkstream=True)
        while done < count:
            for _, entries in await _read(redis):
                orders = [validated(fields) for _, fields in entries]
                pipeline = redis.pipeline(transaction=False)
                for order, holds in zip(orders, await _guards_hold(redis, orders), strict=True):
                    if holds:
                        reserve(pipeline, order)
                pipeline.xack("orders_stream", works.GROUP, *(entry_id for entry_id, _ in entries))
                await pipeline.execute()
                done += len(entries)
        await redis.aclose()

    return work


async def _guards_hold(redis: Redis, orders: Sequence[OrderCreated]) -> list[bool]:
    pipeline = redis.pipeline(transaction=False)
    for order in orders:
        pipeline.hget(f"reservation:{order.order_id}", "status")
        for line in order.items:
            pipeline.hget("stock", f"{line.product_id}:available")
    found = iter(await pipeline.execute())
    return [_holds(order, *islice(found, 1 + len(order.items))) for order in orders]


def _holds(order: OrderCreated, status: bytes | None, *levels: bytes | None) -> bool:
    enough = (int(level or 0) >= line.quantity for level, line in zip(levels, order.items, strict=True))
    return status is None and all(enough)


async def acknowledge_at_once(redis: Redis, order: OrderCreated) -> None:
    """Nothing but the acknowledgement."""


async def pipe_at_once(redis: Redis, order: OrderCreated) -> None:
    """Publish one, and wait for it."""
    await redis.xadd("inventory_stream", {"event": encode(works.reserved(order), _ORIGIN)})


async def reserve_at_once(redis: Redis, order: OrderCreated) -> None:
    """State and event of one order in one pipeline."""
    pipeline = redis.pipeline(transaction=False)
    reserve(pipeline, order)
    await pipeline.execute()


def one_by_one(handle: Callable[[Redis, OrderCreated], Awaitable[None]]) -> Work:
    """The same, but what is done for one event is awaited before the next one is handled."""

    async def prepare(url: str, count: int) -> Timed:
        async def work() -> None:
            redis, done = Redis.from_url(url, protocol=2), 0
            await redis.xgroup_create("orders_stream", works.GROUP, id="0", mkstream=True)
            while done < count:
                for _, entries in await _read(redis):
                    for entry_id, fields in entries:
                        await handle(redis, validated(fields))
                        await redis.xack("orders_stream", works.GROUP, entry_id)
                    done += len(entries)
            await redis.aclose()

        return work

    return prepare


async def _read(redis: Redis) -> Any:
    return await redis.xreadgroup(works.GROUP, "c", {"orders_stream": ">"}, count=works.BATCH, block=1000)


CONTESTANTS: Contestants = {
    "redis-py by hand": {
        works.PUBLISH_BATCHED: publish_batched,
        works.ACKNOWLEDGE: batched(validated, acknowledge),
        works.PIPE: batched(validated, pipe),
        works.RESERVE: batched(validated, reserve),
    },
    "redis-py by hand, our codec": {
        works.ACKNOWLEDGE: batched(by_our_codec, acknowledge),
        works.PIPE: batched(by_our_codec, pipe),
        works.RESERVE: batched(by_our_codec, reserve),
    },
    "redis-py by hand, guards read": {works.RESERVE: guarded},
    "redis-py, one by one": {
        works.PUBLISH_AWAITING: publish_awaiting,
        works.ACKNOWLEDGE: one_by_one(acknowledge_at_once),
        works.PIPE: one_by_one(pipe_at_once),
        works.RESERVE: one_by_one(reserve_at_once),
    },
}
