"""The producer's unit test: the connection to Redis is a mock, and what is sent to it is looked at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock, create_autospec

import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from msgspec import msgpack

from contracts import Line
from eventcore import Store
from eventcore.commit.committer import Committer
from eventcore.server.pipe import Pipe
from order_service.api import ORDERS, SETTINGS, PlaceOrder, PlacingHeaders, place_order
from order_service.orders import Orders
from order_service.settings import OrderSettings


@pytest_asyncio.fixture
async def redis() -> AsyncMock:
    """A connection that answers every commit as Redis would."""
    pipe: AsyncMock = create_autospec(Pipe, instance=True)
    pipe.pipeline = AsyncMock(return_value=[[[b"ok", b"1795428000000-0"]]])
    return pipe


@pytest_asyncio.fixture
async def request_(redis: AsyncMock) -> AsyncIterator[web.Request]:
    """A request to a service that knows no other Redis."""
    settings = OrderSettings()
    store = Store(settings, source="order-service")
    store.committer = Committer(redis)
    app = web.Application()
    app[SETTINGS], app[ORDERS] = settings, Orders(store, settings.keep)
    yield make_mocked_request("POST", "/orders", app=app)


async def test_post_orders_publishes_order_created(redis: AsyncMock, request_: web.Request) -> None:
    body = PlaceOrder(items=[Line(product_id="11", quantity=12)], customer_id="VINET")
    answer = await place_order(request_, body=body, headers=PlacingHeaders())
    order_id = answer.headers["Location"].removeprefix("/orders/")

    redis.pipeline.assert_awaited_once()
    [[command]] = redis.pipeline.await_args.args
    name, _, key_count, *rest = command
    keys, (_, _, transaction) = rest[:key_count], rest[key_count:]
    assert name == "EVALSHA"
    assert b"orders_stream" in keys

    values = msgpack.decode(transaction)
    envelope = json.loads(values[values.index("event") + 1])
    assert envelope["type"] == "order.created"
    assert envelope["data"] == {
        "orderId": order_id,
        "items": [{"productId": "11", "quantity": 12}],
        "customerId": "VINET",
    }
    assert envelope["metadata"]["source"] == "order-service"
    assert envelope["metadata"]["version"] == "1.1"
    # Order and event travel in one command: neither can be there without the other.
    assert f"order:{order_id}".encode() in keys
