"""FastStream over the same streams, at-least-once, one event or one batch of 500 for each call of the handler.

It reads up to 500 entries at once and may send what one call writes in one pipeline: more than its defaults do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faststream.redis import RedisBroker, StreamSub
from pydantic import BaseModel
from redis.asyncio import Redis

from contracts import OrderCreated
from eventcore import Origin, encode

from . import works
from .shapes import Contestants, Timed, Work

_ORIGIN = Origin.new("faststream")
_SILENT: Any = None
Handler = Callable[..., Awaitable[None]]
Make = Callable[[RedisBroker], Handler]
Write = Callable[[RedisBroker, Any, OrderCreated], Awaitable[None]]


class Message(BaseModel):
    """The same envelope as everybody's; its data is validated by the same model."""

    type: str
    data: OrderCreated
    metadata: dict[str, str | None]


async def publish_awaiting(url: str, count: int) -> Timed:
    """64 tasks, each awaiting its own publish; the bytes are made by our codec."""
    remaining, broker = iter(works.orders(count)), await _connected(url)

    async def work() -> None:
        async def one() -> None:
            for order in remaining:
                await broker.publish(encode(order, _ORIGIN), stream="orders_stream")

        await asyncio.gather(*(one() for _ in range(works.AWAITERS)))
        await broker.stop()

    return work


async def _fill(url: str, count: int) -> None:
    """Orders as FastStream's own publisher writes them."""
    broker, redis = await _connected(url), Redis.from_url(url, protocol=2)
    await redis.delete("orders_stream")
    payloads = works.payloads(count)
    for first in range(0, count, works.BATCH):
        pipeline = redis.pipeline(transaction=False)
        for payload in payloads[first : first + works.BATCH]:
            await broker.publish(payload, stream="orders_stream", pipeline=pipeline)
        await pipeline.execute()
    await broker.stop()
    await redis.aclose()


def consuming(make: Make, *, batch: bool) -> Work:
    """A subscriber with this handler, until nothing is pending any more."""

    async def prepare(url: str, count: int) -> Timed:
        await _fill(url, count)
        broker, redis = RedisBroker(url, logger=_SILENT), Redis.from_url(url, protocol=2)
        stream: Any = StreamSub(
            "orders_stream", group=works.GROUP, consumer="c", last_id="0", batch=batch, max_records=works.BATCH
        )
        broker.subscriber(stream=stream)(make(broker))

        async def work() -> None:
            await broker.start()
            while not await _finished(redis, count):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.01)
            await broker.stop()
            await redis.aclose()

        return work

    return prepare


async def _connected(url: str) -> RedisBroker:
    broker = RedisBroker(url, logger=_SILENT)
    await broker.connect()
    return broker


async def _finished(redis: Redis, count: int) -> bool:
    rows = await redis.xinfo_groups("orders_stream")
    return any(row["entries-read"] == count and row["pending"] == 0 for row in rows)


def one(write: Write | None = None) -> Make:
    """A handler of one event, which writes in one pipeline, or nothing but the acknowledgement."""

    def make(broker: RedisBroker) -> Handler:
        async def handle(message: Message) -> None:
            if write is not None:
                await _write(broker, write, [message])

        return handle

    return make


def many(write: Write | None = None) -> Make:
    """The same for a batch of events, all in one pipeline."""

    def make(broker: RedisBroker) -> Handler:
        async def handle(messages: list[Message]) -> None:
            if write is not None:
                await _write(broker, write, messages)

        return handle

    return make


def pipe(broker: RedisBroker) -> Handler:
    """Publish one, without a pipeline."""

    async def handle(message: Message) -> None:
        await broker.publish(encode(works.reserved(message.data), _ORIGIN), stream="inventory_stream")

    return handle


async def _write(broker: RedisBroker, write: Write, messages: Sequence[Message]) -> None:
    # The broker's own client, so that it has one pool of connections.
    pipeline: Any = broker.config.connection.client.pipeline(transaction=False)
    for message in messages:
        await write(broker, pipeline, message.data)
    await pipeline.execute()


async def _reserve(broker: RedisBroker, pipeline: Any, order: OrderCreated) -> None:
    """Three decrements, one record, one event."""
    for line in order.items:
        pipeline.hincrby("stock", f"{line.product_id}:available", -line.quantity)
    pipeline.hset(f"reservation:{order.order_id}", "status", "reserved")
    await _publish(broker, pipeline, order)


async def _publish(broker: RedisBroker, pipeline: Any, order: OrderCreated) -> None:
    await broker.publish(encode(works.reserved(order), _ORIGIN), stream="inventory_stream", pipeline=pipeline)


CONTESTANTS: Contestants = {
    "FastStream": {
        works.PUBLISH_AWAITING: publish_awaiting,
        works.ACKNOWLEDGE: consuming(one(), batch=False),
        works.PIPE: consuming(pipe, batch=False),
        works.RESERVE: consuming(one(_reserve), batch=False),
    },
    "FastStream, batch": {
        works.ACKNOWLEDGE: consuming(many(), batch=True),
        works.PIPE: consuming(many(_publish), batch=True),
        works.RESERVE: consuming(many(_reserve), batch=True),
    },
}
