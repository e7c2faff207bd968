"""What an experienced hand writes with redis-py alone: batches of 500, one pipeline a batch, one XACK a batch.

It is at-least-once: state, events and acknowledgement leave in one pipeline, but a crash between two of its commands
leaves half of the work, and nothing stops a second delivery from doing it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import from_json
from redis.asyncio import Redis

from contracts import InventoryReserved, OrderCreated
from eventcore import Origin, encode

from .works import group

batch = 500
_origin = Origin.new("handwritten")
Handle = Callable[[Any, OrderCreated], None]


async def publish_awaiting(redis: Redis, payloads: Sequence[bytes], awaiters: int = 64) -> None:
    """Many tasks, each awaiting its own XADD, as in a web service."""
    remaining = iter(payloads)

    async def one() -> None:
        for payload in remaining:
            await redis.xadd("orders_stream", {"event": payload})

    await asyncio.gather(*(one() for _ in range(awaiters)))


async def publish_batched(redis: Redis, payloads: Sequence[bytes]) -> None:
    """One pipeline for each 500 events."""
    for first in range(0, len(payloads), batch):
        pipeline = redis.pipeline(transaction=False)
        for payload in payloads[first : first + batch]:
            pipeline.xadd("orders_stream", {"event": payload})
        await pipeline.execute()


async def consume(redis: Redis, count: int, handle: Handle) -> None:
    """Read, decode and validate, handle, acknowledge, until `count` events are done."""
    await redis.xgroup_create("orders_stream", group, id="0", mkstream=True)
    done = 0
    while done < count:
        answer: Any = await redis.xreadgroup(group, "c", {"orders_stream": ">"}, count=batch, block=1000)
        for _, entries in answer:
            pipeline = redis.pipeline(transaction=False)
            for _, fields in entries:
                handle(pipeline, OrderCreated.model_validate(from_json(fields[b"event"])["data"]))
            pipeline.xack("orders_stream", group, *(entry_id for entry_id, _ in entries))
            await pipeline.execute()
            done += len(entries)


def acknowledge(pipeline: Any, order: OrderCreated) -> None:
    """Nothing but the acknowledgement."""


def reserve(pipeline: Any, order: OrderCreated) -> None:
    """Three decrements, one record, one event; no guard can be expressed this way."""
    for line in order.items:
        pipeline.hincrby("stock", f"{line.product_id}:available", -line.quantity)
    pipeline.hset(f"reservation:{order.order_id}", "status", "reserved")
    pipe(pipeline, order)


def pipe(pipeline: Any, order: OrderCreated) -> None:
    """Publish one."""
    event = InventoryReserved(order_id=order.order_id, items=order.items)
    pipeline.xadd("inventory_stream", {"event": encode(event, _origin)})
