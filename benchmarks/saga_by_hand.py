"""The saga as an experienced hand writes it with aiohttp and redis-py alone, at-least-once.

`python -m benchmarks.saga_by_hand order URL PORT` serves and confirms; `… inventory URL` reserves; `… notification URL`
notes that the customer was told.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import uvloop
from aiohttp import web
from pydantic_core import from_json
from redis.asyncio import Redis

from contracts import InventoryReserved, OrderCreated
from eventcore import Origin, encode, new_id
from order_service.api import PlaceOrder

from . import works
from .by_hand import reserve

_ORIGIN = Origin.new("by-hand")
Handle = Callable[[Any, dict[str, Any]], None]


async def serve(url: str, port: int) -> None:
    """Accept orders: state and event in one MULTI, then 202. Confirm them beside it."""
    redis = Redis.from_url(url, protocol=2, max_connections=200)

    async def post(request: web.Request) -> web.Response:
        body = PlaceOrder.model_validate_json(await request.read())
        order = OrderCreated(order_id=new_id(), items=tuple(body.items), customer_id=body.customer_id)
        pipeline = redis.pipeline(transaction=True)
        pipeline.hset(f"order:{order.order_id}", mapping={"status": "processing", "order": order.model_dump_json()})
        pipeline.xadd(OrderCreated.stream, {"event": encode(order, _ORIGIN)})
        await pipeline.execute()
        return web.json_response({"id": order.order_id, "status": "processing"}, status=202)

    async def ready(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/orders", post)
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await consume(redis, InventoryReserved.stream, "order-group", confirm)


def confirm(pipeline: Any, data: dict[str, Any]) -> None:
    """Note the outcome of an order."""
    event = InventoryReserved.model_validate(data)
    pipeline.hset(f"order:{event.order_id}", "status", "confirmed")


def take(pipeline: Any, data: dict[str, Any]) -> None:
    """Reserve what was ordered."""
    reserve(pipeline, OrderCreated.model_validate(data))


def tell(pipeline: Any, data: dict[str, Any]) -> None:
    """Note that the customer was told."""
    event = InventoryReserved.model_validate(data)
    pipeline.hset(f"notifications:{event.order_id}", "log", event.model_dump_json())


async def consume(redis: Redis, stream: str, group: str, handle: Handle) -> None:
    """Read, handle and acknowledge in batches, for ever."""
    await redis.xgroup_create(stream, group, id="0", mkstream=True)
    while True:
        answer: Any = await redis.xreadgroup(group, "c", {stream: ">"}, count=works.BATCH, block=1000)
        for _, entries in answer:
            pipeline = redis.pipeline(transaction=False)
            for _, fields in entries:
                handle(pipeline, from_json(fields[b"event"])["data"])
            pipeline.xack(stream, group, *(entry_id for entry_id, _ in entries))
            await pipeline.execute()


async def main(role: str, url: str, port: str = "0") -> None:
    """Run one of the three programs until killed."""
    redis = Redis.from_url(url, protocol=2)
    if role == "order":
        await serve(url, int(port))
    elif role == "inventory":
        await consume(redis, OrderCreated.stream, "inventory-group", take)
    else:
        await consume(redis, InventoryReserved.stream, "notification-group", tell)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(main(*sys.argv[1:]))
