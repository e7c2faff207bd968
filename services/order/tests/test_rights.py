"""Orders while the Redis user lacks a right: refused as a whole, not ready, and accepted once it is granted."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from eventcore import Settings, Store
from eventcore.testing import until
from libs.contracts.tests.calling import Caller
from libs.eventcore.tests.restricted import grant, restrict, restricted
from order_service.app import create_app
from order_service.settings import OrderSettings

ORDER = {"items": [{"productId": "11", "quantity": 1}]}
COMMANDS = ("xadd", "hset", "zadd", "set", "pexpire", "hmget", "get", "evalsha")


@pytest.mark.parametrize("command", COMMANDS)
async def test_an_order_that_can_not_be_written_whole_is_not_written(
    command: str, settings: Settings, store: Store
) -> None:
    async with restricted(store.redis, settings) as url:
        app = create_app(OrderSettings(**{**dict(settings), "redis_url": url}))
        async with TestClient(TestServer(app)) as client:
            call = await Caller.of(client)

            async def ready() -> bool:
                return (await call.ask("GET", "/readyz")).status == 200

            async def refused() -> bool:
                said = await call.ask("GET", "/readyz")
                return said.status == 503 and command in said.body["detail"].lower()

            await until(ready)
            await restrict(store.redis, f"-{command}")
            for _ in range(2):
                reply = await call.ask("POST", "/orders", json=ORDER, headers={"Idempotency-Key": "one"})
                assert reply.status == 503
                assert int(reply.headers["Retry-After"]) >= 1
                assert "nothing was written" in reply.body["detail"]
            assert await store.redis.xlen("orders_stream") == 0
            assert await store.redis.keys("order:*") == []
            await until(refused)

            await grant(store.redis)
            await until(ready)
            reply = await call.ask("POST", "/orders", json=ORDER, headers={"Idempotency-Key": "one"})
            assert reply.status == 202
            assert await store.redis.xlen("orders_stream") == 1
