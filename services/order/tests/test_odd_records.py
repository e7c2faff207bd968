"""An order that this version can't read, a newer one's or a broken one, spoils no answer about others."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from eventcore import Store
from libs.contracts.tests.calling import Caller

ORDER = {"items": [{"productId": "11", "quantity": 12}]}


async def place(call: Caller) -> str:
    order_id: str = (await call("POST", "/orders", 202, json=ORDER))["id"]
    return order_id


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "shipped"},
        {"reason": "out_of_love"},
        {"items": "[{]"},
        {"items": '[{"sku": 1}]'},
        {"items": "7"},
        {"shortages": "{}"},
        {"customerId": b"\xff"},
        {b"\xff": "x"},
    ],
    ids=str,
)
async def test_an_order_that_can_not_be_read_is_left_out_of_lists_and_told_once(
    fields: dict[Any, Any], call: Caller, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first, odd, last = [await place(call) for _ in range(3)]
    await store.redis.hset(store.key(f"order:{odd}"), mapping=fields)
    for _ in range(2):
        assert [order["id"] for order in (await call("GET", "/orders"))["orders"]] == [last, first]
    [told] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert told.getMessage().startswith(f"order {odd} can't be read and is left out: ")
    assert (await call("GET", f"/orders/{first}"))["id"] == first
    assert "this version can't read it" in (await call("GET", f"/orders/{odd}", 503))["detail"]


async def test_so_is_one_that_lacks_a_field_or_is_of_another_kind(call: Caller, store: Store) -> None:
    first, bare, text, last = [await place(call) for _ in range(4)]
    await store.redis.hdel(store.key(f"order:{bare}"), "items")
    await store.redis.set(store.key(f"order:{text}"), "not an order", ex=60)
    assert [order["id"] for order in (await call("GET", "/orders"))["orders"]] == [last, first]
    for odd in (bare, text):
        await call("GET", f"/orders/{odd}", 503)


async def test_pages_lose_nothing_by_what_is_left_out(call: Caller, store: Store) -> None:
    placed = [await place(call) for _ in range(5)]
    await store.redis.hset(store.key(f"order:{placed[2]}"), "status", "shipped")
    await store.redis.zadd(store.key("orders:processing"), {b"\xff\xfe": 0, "nonsense": 0})
    pages = await call.pages("/orders?limit=2")
    listed = [order["id"] for page in pages for order in page["orders"]]
    assert listed == [placed[4], placed[3], placed[1], placed[0]]


async def test_an_order_of_an_unknown_status_can_not_be_cancelled(call: Caller, store: Store) -> None:
    odd = await place(call)
    await store.redis.hset(store.key(f"order:{odd}"), "status", "shipped")
    problem = await call("POST", f"/orders/{odd}/cancel", 409)
    assert problem["detail"] == "The order is shipped: there is nothing to cancel."


async def test_a_receipt_that_can_not_be_read_places_nothing_twice(call: Caller, store: Store) -> None:
    await call("POST", "/orders", 202, json=ORDER, headers={"Idempotency-Key": "one"})
    [receipt] = await store.redis.keys("*idempotency:*")
    await store.redis.set(receipt, '{"orderIds": []}', keepttl=True)
    problem = await call("POST", "/orders", 503, json=ORDER, headers={"Idempotency-Key": "one"})
    assert "nothing was placed" in problem["detail"]
    assert len((await call("GET", "/orders"))["orders"]) == 1
