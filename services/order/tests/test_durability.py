"""An order is answered 202 once it is as durable as was asked for, and 503 where it can't be, by any replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from eventcore import SettingsError
from eventcore.commit.durability import Durability
from eventcore.testing import Server, available_kinds, until
from eventcore.testing.fixtures import StartServer
from eventcore.web import STORE
from libs.contracts.tests.calling import Caller
from order_service.app import create_app
from order_service.settings import OrderSettings

ORDER = {"items": [{"productId": "tea", "quantity": 1}]}
ONCE = {"Idempotency-Key": "cart-1"}


def settings_for(server: Server, durability: Durability, pod: str = "pod-1") -> OrderSettings:
    return OrderSettings(redis_url=server.url, order_durability=durability, pod_name=pod)


@pytest_asyncio.fixture
async def shop(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Caller, Caller, Server]]:
    """Two replicas of the service that promise durability at a replica of the server, and that one."""
    monkeypatch.setattr("eventcore.commit.durability.CONFIRM_WITHIN", timedelta(seconds=1))
    primary = start_server(options={"repl-diskless-sync-delay": "0"})
    copy = start_server(options={"replicaof": f"127.0.0.1 {primary.port}"})
    async with AsyncExitStack() as stack:
        callers = []
        for pod in ("pod-1", "pod-2"):
            app = create_app(settings_for(primary, Durability.REPLICA, pod))
            client = await stack.enter_async_context(TestClient(TestServer(app)))
            callers.append(await Caller.of(client))
        yield callers[0], callers[1], copy


async def test_a_repetition_at_another_replica_is_answered_no_sooner_than_the_order_is_durable(
    shop: tuple[Caller, Caller, Server],
) -> None:
    first, second, copy = shop
    await first("POST", "/orders", 202, json=ORDER)
    await second("POST", "/orders", 202, json=ORDER)
    copy.pause()
    asked = asyncio.create_task(first.ask("POST", "/orders", json=ORDER, headers=ONCE))
    await until(lambda: placed(first, 3))
    repeated = await second.ask("POST", "/orders", json=ORDER, headers=ONCE)
    assert {repeated.status, (await asked).status} == {503}
    copy.resume()
    await until(lambda: ready(second), timeout=30)
    await second("POST", "/orders", 202, json=ORDER, headers=ONCE)
    assert await placed(first, 3)


async def test_what_can_not_be_made_durable_is_not_placed_and_the_service_says_so(
    shop: tuple[Caller, Caller, Server],
) -> None:
    first, _, copy = shop
    copy.pause()
    late = await first.ask("POST", "/orders", json=ORDER)
    assert late.status == 503
    assert "took effect" in late.body["detail"]
    assert "ORDER_DURABILITY=replica: 0 of 1 replicas had it within 1 s" in late.body["detail"]
    refused = await first.ask("POST", "/orders", json=ORDER)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert "nothing was written (ORDER_DURABILITY=replica" in refused.body["detail"]
    assert await placed(first, 1)
    assert "ORDER_DURABILITY=replica" in (await first("GET", "/readyz", 503))["detail"]
    copy.resume()
    await until(lambda: ready(first), timeout=30)
    await first("POST", "/orders", 202, json=ORDER)


async def test_a_server_that_can_not_keep_the_promise_stops_the_service_at_its_start(start_server: StartServer) -> None:
    app = create_app(settings_for(start_server(), Durability.DISK))
    with pytest.raises(SettingsError, match="ORDER_DURABILITY=disk: the server has no append-only file"):
        async with TestServer(app):
            pass


@pytest.mark.skipif("valkey" not in available_kinds(), reason="needs a server that answers early")
async def test_a_server_that_answers_early_can_be_accepted_by_setting() -> None:
    with Server(kind="valkey", append_only=True, options={"appendfsync": "everysec"}) as server:
        settings = settings_for(server, Durability.DISK).model_copy(update={"order_durability_check": "warn"})
        async with TestClient(TestServer(create_app(settings))) as client:
            call = await Caller.of(client)
            await call("POST", "/orders", 202, json=ORDER)


async def placed(call: Caller, count: int) -> bool:
    """Whether so many orders have been placed."""
    app = call.client.app
    assert app is not None
    return bool(await app[STORE].redis.xlen("orders_stream") == count)


async def ready(call: Caller) -> bool:
    """Whether the service says so."""
    return (await call.ask("GET", "/readyz")).status == 200
