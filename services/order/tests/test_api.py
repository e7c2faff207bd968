"""Orders over HTTP, on a real server: every row of the contract, its limits and its errors."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate

from contracts import InventoryReserved, Line
from eventcore import OutcomeUnknown, Settings, Store
from eventcore.commit.committer import Acknowledgement, CommitAnswer, Committer, Work
from eventcore.testing import until
from eventcore.testing.fixtures import StartServer
from eventcore.web import STORE
from libs.contracts.tests.calling import Caller
from libs.contracts.tests.streams import events
from order_service.app import create_app
from order_service.settings import OrderSettings

ITEM = {"productId": "11", "quantity": 12}
ORDER = {"items": [ITEM], "customerId": "VINET", "email": "a@b.c"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def published(store: Store) -> list[dict[str, Any]]:
    """All that the order service has published."""
    return await events(store, "orders_stream")


async def place(call: Caller, **order: Any) -> str:
    """Place an order; its id."""
    answer = await call("POST", "/orders", 202, json={**ORDER, **order})
    order_id: str = answer["id"]
    return order_id


async def confirm(call: Caller, store: Store, order_id: str) -> None:
    """What the inventory says of an order that it can serve."""
    await store.publish(InventoryReserved(order_id=order_id, items=(Line(product_id="11", quantity=12),)))
    await call.settled(store)


async def test_an_order_is_accepted_once_it_and_its_event_are_committed(call: Caller, store: Store) -> None:
    reply = await call.ask("POST", "/orders", json=ORDER, headers={"X-Correlation-ID": TRACE})
    order_id = reply.body["id"]
    assert (reply.status, reply.body) == (202, {"id": order_id, "status": "processing"})
    assert reply.headers["Location"] == f"/orders/{order_id}"
    assert reply.headers["X-Correlation-ID"] == TRACE

    [event] = await published(store)
    assert (event["type"], event["metadata"]["version"]) == ("order.created", "1.1")
    assert event["data"] == {"orderId": order_id, **ORDER}
    assert (event["metadata"]["source"], event["metadata"]["correlationId"]) == ("order-service", TRACE)

    order = await call("GET", f"/orders/{order_id}")
    times = order.pop("createdAt"), order.pop("updatedAt")
    assert order == {"id": order_id, "status": "processing", **ORDER, "correlationId": TRACE}
    assert times[0] == times[1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", times[0])


async def test_an_order_need_not_say_by_whom(call: Caller, store: Store) -> None:
    order_id = (await call("POST", "/orders", 202, json={"items": [ITEM], "somethingElse": 1}))["id"]
    order = await call("GET", f"/orders/{order_id}")
    assert order.keys() == {"id", "status", "items", "correlationId", "createdAt", "updatedAt"}
    assert (await published(store))[0]["data"] == {"orderId": order_id, "items": [ITEM]}


async def test_the_least_and_the_most_that_can_be_ordered(call: Caller) -> None:
    await place(call, items=[{"productId": "p", "quantity": 1}])
    await place(call, items=[{"productId": "p" * 64, "quantity": 10_000}] * 100)


WRONG: dict[str, tuple[Any, str]] = {
    "no items": ({}, "items"),
    "empty items": ({"items": []}, "items"),
    "101 items": ({"items": [ITEM] * 101}, "items"),
    "items that are no list": ({"items": ITEM}, "items"),
    "no product": ({"items": [{"quantity": 1}]}, "items.0.productId"),
    "empty product": ({"items": [ITEM, {"productId": "", "quantity": 1}]}, "items.1.productId"),
    "long product": ({"items": [{"productId": "p" * 65, "quantity": 1}]}, "items.0.productId"),
    "control character": ({"items": [{"productId": "p\n", "quantity": 1}]}, "items.0.productId"),
    "no quantity": ({"items": [{"productId": "11"}]}, "items.0.quantity"),
    "quantity 0": ({"items": [{"productId": "11", "quantity": 0}]}, "items.0.quantity"),
    "quantity 10001": ({"items": [{"productId": "11", "quantity": 10_001}]}, "items.0.quantity"),
    "quantity as text": ({"items": [{"productId": "11", "quantity": "12"}]}, "items.0.quantity"),
    "quantity true": ({"items": [{"productId": "11", "quantity": True}]}, "items.0.quantity"),
    "quantity 1.5": ({"items": [{"productId": "11", "quantity": 1.5}]}, "items.0.quantity"),
    "customer as number": ({**ORDER, "customerId": 1}, "customerId"),
    "long customer": ({**ORDER, "customerId": "c" * 201}, "customerId"),
    "no address": ({**ORDER, "email": "nobody"}, "email"),
    "two addresses": ({**ORDER, "email": "a@b.c,d@e.f"}, "email"),
    "address with a line": ({**ORDER, "email": "a@b.c\r\nBcc: d@e.f"}, "email"),
    "long address": ({**ORDER, "email": f"{'a' * 251}@b.c"}, "email"),
}


@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
async def test_an_order_that_breaks_a_rule_is_refused_by_name(
    call: Caller, store: Store, body: Any, field: str
) -> None:
    problem = await call("POST", "/orders", 422, json=body)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert field in problem["detail"]
    assert await published(store) == []


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("status", "data", "headers"),
    [
        (400, '{"items": [', JSON),
        (400, "", JSON),
        (422, "[]", JSON),
        (415, json.dumps(ORDER), {"Content-Type": "text/plain"}),
        (413, json.dumps({**ORDER, "note": "x" * 256 * 1024}), JSON),
    ],
    ids=lambda value: repr(value)[:40],  # a server is started with the id in its environment, which has a limit
)
async def test_what_can_not_be_read_is_refused_honestly(
    call: Caller, store: Store, status: int, data: str, headers: dict[str, str]
) -> None:
    await call("POST", "/orders", status, data=data, headers=headers)
    assert await published(store) == []


# Idempotency


async def test_the_same_key_and_body_get_the_same_answer_and_create_nothing(call: Caller, store: Store) -> None:
    other_writing = json.dumps({"email": "a@b.c", "customerId": "VINET", "items": [ITEM], "note": 1}, indent=2)
    first = await call.ask("POST", "/orders", json=ORDER, headers={"Idempotency-Key": "one"})
    await confirm(call, store, first.body["id"])
    again = await call.ask("POST", "/orders", data=other_writing, headers={**JSON, "Idempotency-Key": "one"})
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Location"] == first.headers["Location"]
    assert len(await published(store)) == 1
    assert len((await call("GET", "/orders"))["orders"]) == 1


async def test_the_same_key_with_another_body_is_refused(call: Caller, store: Store) -> None:
    headers = {"Idempotency-Key": "one"}
    await call("POST", "/orders", 202, json=ORDER, headers=headers)
    problem = await call("POST", "/orders", 422, json={"items": [ITEM]}, headers=headers)
    assert [error["field"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert len(await published(store)) == 1


async def test_a_race_of_equal_requests_creates_one_order(call: Caller, store: Store) -> None:
    asked = [call("POST", "/orders", 202, json=ORDER, headers={"Idempotency-Key": "race"}) for _ in range(50)]
    answers = await asyncio.gather(*asked)
    assert len({answer["id"] for answer in answers}) == 1
    assert len(await published(store)) == 1


@pytest.mark.parametrize("key", ["k", "k" * 255, "!~ \"'{}", "8e03978e-40d5-43dd-bc93-6894a57f9324"])
async def test_a_key_is_printable_text(call: Caller, key: str) -> None:
    await call("POST", "/orders", 202, json=ORDER, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "tab\there"], ids=["empty", "long", "umlaut", "tab"])
async def test_a_key_that_is_none_is_refused(call: Caller, store: Store, key: str) -> None:
    problem = await call("POST", "/orders", 422, json=ORDER, headers={"Idempotency-Key": key})
    assert [error["field"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert await published(store) == []


# Listing


async def test_orders_are_listed_newest_first_page_by_page(call: Caller) -> None:
    placed = [await place(call) for _ in range(5)]
    pages = await call.pages("/orders?limit=2")
    assert [len(page["orders"]) for page in pages] == [2, 2, 1]
    assert [order["id"] for page in pages for order in page["orders"]] == sorted(placed, reverse=True)


async def test_orders_are_listed_by_status(call: Caller, store: Store) -> None:
    processing, confirmed, cancelled = [await place(call) for _ in range(3)]
    await confirm(call, store, confirmed)
    await call("POST", f"/orders/{cancelled}/cancel", 202)
    for status, expected in [("processing", [processing]), ("confirmed", [confirmed]), ("rejected", [])]:
        page = await call("GET", f"/orders?status={status}")
        assert [(order["id"], order["status"]) for order in page["orders"]] == [(each, status) for each in expected]
    assert len((await call("GET", "/orders"))["orders"]) == 3


async def test_expired_orders_leave_no_holes_in_a_page(call: Caller, store: Store) -> None:
    placed = sorted([await place(call) for _ in range(6)], reverse=True)
    await store.redis.delete(*(store.key(f"order:{order_id}") for order_id in (placed[1], placed[3])))
    listed = [[order["id"] for order in page["orders"]] for page in await call.pages("/orders?limit=3")]
    assert listed == [[placed[0], placed[2], placed[4]], [placed[5]]]


async def test_a_page_of_large_orders_is_shorter_than_its_limit_and_loses_none(call: Caller) -> None:
    large = {
        "items": [
            {"productId": f"{number:03d}" + "\N{MUSICAL SYMBOL G CLEF}" * 60, "quantity": 1} for number in range(100)
        ]
    }
    placed = [(await call("POST", "/orders", 202, json=large))["id"] for _ in range(45)]
    placed += [await place(call) for _ in range(20)]  # from which nobody can tell how large the others are
    pages = await call.pages("/orders?limit=1000")
    assert len(pages) > 1
    assert all(len(json.dumps(page, ensure_ascii=False).encode()) < 1024 * 1024 for page in pages)
    assert [order["id"] for page in pages for order in page["orders"]] == sorted(placed, reverse=True)


async def test_an_order_on_its_way_to_another_status_is_not_listed_under_the_one_it_has_left(
    call: Caller, store: Store
) -> None:
    order_id = await place(call)
    await store.redis.zadd(store.key("orders:confirmed"), {order_id: 0})  # as if it had just been read there
    assert (await call("GET", "/orders?status=confirmed"))["orders"] == []


async def test_a_list_may_be_empty(call: Caller) -> None:
    assert await call("GET", "/orders") == {"orders": [], "nextCursor": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=1.0", "cursor=?", "status=x"])
async def test_a_wrong_query_is_refused_by_name(call: Caller, query: str) -> None:
    problem = await call("GET", f"/orders?{query}", 422)
    assert [error["field"] for error in problem["errors"]] == [query.partition("=")[0]]


# Cancelling


async def test_an_order_can_be_cancelled_once_or_more_often(call: Caller, store: Store) -> None:
    order_id = await place(call)
    for _ in range(3):
        answer = await call("POST", f"/orders/{order_id}/cancel", 202)
        assert answer == {"id": order_id, "status": "cancelled"}
    assert (await call("GET", f"/orders/{order_id}"))["status"] == "cancelled"
    _, cancelled = await published(store)
    assert (cancelled["type"], cancelled["data"]) == ("order.cancelled", {"orderId": order_id})


async def test_a_confirmed_order_can_be_cancelled(call: Caller, store: Store) -> None:
    order_id = await place(call)
    await confirm(call, store, order_id)
    await call("POST", f"/orders/{order_id}/cancel", 202)
    assert [event["type"] for event in await published(store)] == ["order.created", "order.cancelled"]


async def test_a_race_of_cancellations_publishes_one_event(call: Caller, store: Store) -> None:
    order_id = await place(call)
    await asyncio.gather(*(call("POST", f"/orders/{order_id}/cancel", 202) for _ in range(20)))
    assert [event["type"] for event in await published(store)] == ["order.created", "order.cancelled"]


@pytest.mark.parametrize("order_id", ["1", "%00", "x" * 1000, "a%2Fb", "01994c1e-0000-7000-8000-000000000001"])
async def test_an_unknown_order_is_not_found(call: Caller, order_id: str) -> None:
    await call("GET", f"/orders/{order_id}", 404)
    await call("POST", f"/orders/{order_id}/cancel", 404)


async def test_the_document_is_a_valid_one(call: Caller) -> None:
    validate(call.document)


# When the server can't


async def test_without_a_server_everything_is_answered_503(settings: Settings, start_server: StartServer) -> None:
    server = start_server()
    app = create_app(OrderSettings(**{**dict(settings), "redis_url": server.url}))
    async with TestClient(TestServer(app)) as client:
        call = await Caller.of(client)
        order_id = await place(call)
        server.kill()
        replies = await asyncio.gather(
            call.ask("POST", "/orders", json=ORDER),
            call.ask("POST", f"/orders/{order_id}/cancel"),
            call.ask("GET", f"/orders/{order_id}"),
            call.ask("GET", "/orders"),
        )
        assert [(reply.status, reply.headers["Retry-After"]) for reply in replies] == [(503, "1")] * 4
        assert (await client.get("/livez")).status == 200


FULL = ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")
READ_ONLY = ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")


@pytest.mark.parametrize(("begin", "end"), [FULL, READ_ONLY], ids=["full memory", "read-only replica"])
async def test_a_refused_write_is_answered_503_and_nothing_is_half_done(
    begin: str, end: str, settings: Settings, start_server: StartServer
) -> None:
    server = start_server()
    app = create_app(OrderSettings(**{**dict(settings), "redis_url": server.url}))
    async with TestClient(TestServer(app)) as client:
        call = await Caller.of(client)
        order_id = await place(call)
        redis = app[STORE].redis
        before = await redis.dbsize()
        await redis.execute_command(*begin.split())
        reply = await call.ask("POST", "/orders", json=ORDER, headers={"Idempotency-Key": "one"})
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) >= 1

        async def still_there() -> bool:  # a replica is left for a master, if there is one: that takes a second or so
            found = await call.ask("GET", f"/orders/{order_id}")
            assert found.status in (200, 503)
            return found.status == 200

        await until(still_there, timeout=60)
        await redis.execute_command(*end.split())
        assert await redis.dbsize() == before

        async def accepted() -> bool:  # as a client does that was told when to come back
            again = await call.ask("POST", "/orders", json=ORDER, headers={"Idempotency-Key": "one"})
            assert again.status in (202, 503)
            return again.status == 202

        await until(accepted)


async def test_a_stream_at_its_hard_cap_refuses_orders(settings: Settings, store: Store) -> None:
    app = create_app(OrderSettings(**{**dict(settings), "stream_cap": 2}))
    async with TestClient(TestServer(app)) as client:
        call = await Caller.of(client)
        placed = [await place(call) for _ in range(2)]
        reply = await call.ask("POST", "/orders", json=ORDER)
        assert reply.status == 503
        assert "Retry-After" in reply.headers
        assert len((await call("GET", "/orders"))["orders"]) == len(placed)


class EveryOtherAnswerLost(Committer):
    """Commits, and every other time the connection dies before the answer comes."""

    def __init__(self, committer: Committer) -> None:
        super().__init__(committer.pipe)
        self._committer = committer
        self.asked = 0

    async def commit_all(
        self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement] = ()
    ) -> list[CommitAnswer]:
        answers = await self._committer.commit_all(work, acknowledgements)
        self.asked += 1
        if self.asked % 2:
            raise OutcomeUnknown("the connection died")
        return answers


async def test_a_lost_answer_of_the_server_creates_nothing_twice(settings: Settings, store: Store) -> None:
    app = create_app(OrderSettings(**dict(settings)))
    async with TestClient(TestServer(app)) as client:
        call = await Caller.of(client)
        app[STORE].committer = losing = EveryOtherAnswerLost(app[STORE].committer)
        order_id = await place(call)
        await call("POST", f"/orders/{order_id}/cancel", 202)
        await call("POST", "/orders", 202, json=ORDER, headers={"Idempotency-Key": "one"})
        assert losing.asked >= 6
        types = [event["type"] for event in await published(store)]
        assert types == ["order.created", "order.cancelled", "order.created"]
        assert len((await call("GET", "/orders"))["orders"]) == 2
