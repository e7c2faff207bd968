"""Stock and reservations that this version can't read, a newer one's or broken ones, spoil no answer about others."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from eventcore import Store
from libs.contracts.tests.calling import Caller


async def put(call: Caller, *products: str) -> None:
    await call("PUT", "/stock", 200, json={"levels": [{"productId": each, "available": 7} for each in products]})


@pytest.mark.parametrize("fields", [{"b:available": "many"}, {"b:reserved": "1.5"}, {"b:available": b"\xff"}], ids=str)
async def test_a_level_that_can_not_be_read_is_left_out_of_the_list_and_told_once(
    fields: Mapping[str, str | bytes], call: Caller, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await put(call, "a", "b", "c")
    await store.redis.hset(store.key("stock"), mapping=fields)
    for _ in range(2):
        assert [level["productId"] for level in (await call("GET", "/stock"))["stock"]] == ["a", "c"]
    [told] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    [field] = fields
    assert told.getMessage() == f"stock of b can't be read and is left out: stock[{field}] holds no integer"
    assert "this version can't read it" in (await call("GET", "/stock/b", 503))["detail"]
    assert (await call("GET", "/stock/a"))["available"] == 7


async def test_pages_lose_nothing_by_what_is_left_out(call: Caller, store: Store) -> None:
    await put(call, "a", "b", "c", "d", "e")
    await store.redis.hset(store.key("stock"), "b:available", "many")
    await store.redis.hdel(store.key("stock"), "d:available")
    await store.redis.zadd(store.key("stock:index"), {b"b\xff": 0, "c\n": 0})
    pages = await call.pages("/stock?limit=1")
    assert [level["productId"] for page in pages for level in page["stock"]] == ["a", "c", "e"]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "held"},
        {"order": "{"},
        {"order": "[]"},
        {"order": '{"orderId": "1"}'},
        {"status": b"\xff"},
    ],
    ids=str,
)
async def test_a_reservation_that_can_not_be_read_is_no_defect(
    fields: Mapping[str, str | bytes], call: Caller, store: Store
) -> None:
    kept = {"status": "reserved", "order": '{"orderId": "1", "items": [{"productId": "a", "quantity": 1}]}'}
    key = store.key("reservation:1")
    await store.redis.hset(key, mapping={**kept, **fields})
    await store.redis.expire(key, 60)
    assert "this version can't read it" in (await call("GET", "/reservations/1", 503))["detail"]
    await store.redis.hset(key, mapping=kept)
    assert (await call("GET", "/reservations/1"))["status"] == "reserved"
