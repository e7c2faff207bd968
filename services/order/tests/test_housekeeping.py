"""Orders expire by themselves; their places in the indexes are taken by housekeeping."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from itertools import product
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestServer

from eventcore import Store, Unavailable, new_id
from eventcore.testing import until
from order_service import housekeeping
from order_service import orders as module
from order_service.app import create_app
from order_service.domain.order import index
from order_service.domain.status import OrderStatus
from order_service.housekeeping import keep_house
from order_service.orders import Orders
from order_service.settings import OrderSettings
from services.order.tests.orders import an_order

KEEP = timedelta(days=30)
LONG_AGO = "01000000-0000-7000-8000-00000000000"


async def indexed(store: Store) -> set[str]:
    """The ids that stand in any index."""
    members = [await store.redis.zrange(store.key(index(status).key), 0, -1) for status in OrderStatus]
    return {member.decode() for each in members for member in each}


async def test_expired_orders_are_taken_out_of_the_indexes_and_no_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    orders = Orders(store, KEEP)
    expired = [f"{LONG_AGO}{number}" for number in range(5)]
    for order_id, status in product(expired, OrderStatus):
        await store.redis.zadd(store.key(index(status).key), {order_id: 0})
    changed_lately, new, being_placed = f"{LONG_AGO}9", new_id(), new_id()
    for order_id in (changed_lately, new):
        await orders.place(an_order(order_id), None)
    await store.redis.zadd(store.key(index(OrderStatus.PROCESSING).key), {being_placed: 0})
    await orders.forget()
    assert await indexed(store) == {changed_lately, new, being_placed}


async def test_the_servers_clock_decides_which_orders_are_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = time.time() - 40 * 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: behind)
    then = (await server_seconds(store) - 40 * 86_400) * 1000
    placed_40_days_ago = f"{then >> 16:08x}-0000-7000-8000-000000000000"
    await store.redis.zadd(store.key(index(OrderStatus.PROCESSING).key), {placed_40_days_ago: 0})
    await Orders(store, KEEP).forget()
    assert await indexed(store) == set()


async def server_seconds(store: Store) -> int:
    seconds, _ = await store.redis.time()
    return int(seconds)


async def test_an_index_that_can_not_be_cleaned_up_is_told_of_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(housekeeping, "SWEEP_EVERY", timedelta(milliseconds=1))
    key, looked = store.key(index(OrderStatus.REJECTED).key), 0
    orders = Orders(store, KEEP)

    class Counting:
        async def forget(self) -> None:
            nonlocal looked
            looked += 1
            await orders.forget()

    await store.redis.set(key, "no index")
    keeping = asyncio.create_task(keep_house(cast("Orders", Counting())))
    await until(lambda: looked > 3)
    await store.redis.delete(key)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert caplog.text.count("the indexes of orders grow") == 1


async def test_the_service_keeps_house(store: Store) -> None:
    app = create_app(OrderSettings(**dict(store.settings)))
    await store.redis.zadd(store.key(index(OrderStatus.REJECTED).key), {f"{LONG_AGO}0": 0})
    async with TestServer(app):

        async def clean() -> Any:
            return not await indexed(store)

        await until(clean)


async def test_housekeeping_goes_on_after_an_outage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recovering(Orders):
        asked = 0

        async def forget(self) -> None:
            Recovering.asked += 1
            if Recovering.asked == 1:
                raise Unavailable("no route")

    monkeypatch.setattr("order_service.housekeeping.SWEEP_EVERY", timedelta(milliseconds=1))
    housekeeping = asyncio.create_task(keep_house(Recovering(store, KEEP)))
    await until(lambda: Recovering.asked > 2)
    housekeeping.cancel()
    await asyncio.wait([housekeeping])
