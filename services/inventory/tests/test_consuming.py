"""The inventory consuming orders, on a real server."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import permutations
from random import Random
from typing import Any

from contracts import InventoryReserved
from eventcore import Consumer, Origin, Settings, Store, publish
from eventcore.testing import running, until_idle
from eventcore.testing.fixtures import Connect
from inventory_service.domain.stock import available, put
from inventory_service.handlers import inventory_router
from inventory_service.settings import InventorySettings
from libs.contracts.tests.calling import PATIENCE, Caller
from libs.contracts.tests.memory import Memory
from libs.contracts.tests.streams import append, decided, entries, events
from services.inventory.tests.orders import cancelled, created, ordered


async def said(store: Store) -> list[dict[str, Any]]:
    """All that the inventory has said."""
    return await events(store, "inventory_stream")


async def stock(call: Caller, product_id: str) -> tuple[int, int]:
    level = await call("GET", f"/stock/{product_id}")
    return level["available"], level["reserved"]


async def test_an_order_is_reserved(call: Caller, store: Store) -> None:
    await call("PUT", "/stock/tea", json={"available": 5})
    origin = Origin.new("order-service")
    await store.publish(ordered("1", tea=2), origin=origin, event_id="created-1")
    await call.settled(store)
    assert await stock(call, "tea") == (3, 2)
    items = [{"productId": "tea", "quantity": 2}]
    assert await call("GET", "/reservations/1") == {"orderId": "1", "items": items, "status": "reserved"}
    [event] = await said(store)
    assert event["type"] == "inventory.reserved"
    assert event["data"] == {"orderId": "1", "items": items, "customerId": "VINET", "email": "vinet@example.com"}
    told = event["metadata"]
    assert (told["version"], told["source"], told["causationId"]) == ("1.0", "inventory-service", "created-1")
    assert told["correlationId"] == origin.correlation_id
    assert told["traceparent"].split("-")[1] == origin.correlation_id


async def test_an_order_that_can_not_be_served_is_rejected(call: Caller, store: Store) -> None:
    await call("PUT", "/stock/tea", json={"available": 1})
    await store.publish(created("1", ("tea", 2), ("cake", 1)))
    await call.settled(store)
    assert (await call("GET", "/reservations/1"))["status"] == "rejected"
    assert await stock(call, "tea") == (1, 0)
    [event] = await said(store)
    assert event["type"] == "inventory.rejected"
    assert event["data"]["reason"] == "unknown_product"
    assert event["data"]["shortages"] == [
        {"productId": "tea", "requested": 2, "available": 1},
        {"productId": "cake", "requested": 1, "available": 0},
    ]


async def test_a_cancelled_order_is_released(call: Caller, store: Store) -> None:
    await call("PUT", "/stock/tea", json={"available": 5})
    await store.publish_all([ordered("1", tea=2), cancelled("1")])
    await call.settled(store)
    assert (await call("GET", "/reservations/1"))["status"] == "released"
    assert await stock(call, "tea") == (5, 0)
    assert [event["type"] for event in await said(store)] == ["inventory.reserved", "inventory.released"]


async def test_a_cancellation_may_overtake_its_order(call: Caller, store: Store) -> None:
    await call("PUT", "/stock/tea", json={"available": 5})
    await store.publish(cancelled("1"))
    await call.settled(store)
    await call("GET", "/reservations/1", 404)
    await store.publish(ordered("1", tea=2))
    await call.settled(store)
    assert (await call("GET", "/reservations/1"))["status"] == "rejected"
    assert await stock(call, "tea") == (5, 0)
    [event] = await said(store)
    assert (event["data"]["reason"], event["data"]["shortages"]) == ("order_cancelled", [])


async def test_an_order_published_twice_is_reserved_once(call: Caller, store: Store) -> None:
    await call("PUT", "/stock/tea", json={"available": 5})
    await store.publish_all([ordered("1", tea=2)] * 3)
    await call.settled(store)
    assert await stock(call, "tea") == (3, 2)
    assert len(await said(store)) == 1


async def test_an_order_of_another_program_is_understood(call: Caller, store: Store) -> None:
    await call("PUT", "/stock/gift_0001_20", json={"available": 5})
    line = {"productId": "gift_0001_20", "quantity": 2, "price": 9.99}
    await append(store, "orders_stream", "order.created", {"orderId": "order_17", "items": [line]})
    await call.settled(store)
    assert (await call("GET", "/reservations/order_17"))["status"] == "reserved"
    [told] = await said(store)
    assert "customerId" not in told["data"]
    assert told["metadata"]["causationId"] == "order.created of another program"


async def test_what_is_no_order_becomes_a_dead_letter_that_says_why(call: Caller, store: Store) -> None:
    line = {"productId": "tea", "quantity": "2"}
    await append(store, "orders_stream", "order.created", {"orderId": "1", "items": [line]})
    await call.settled(store)
    [letter] = await entries(store, "orders_dlq")
    assert letter[b"reason"] == b"undecodable"
    assert b"data.items.0.quantity" in letter[b"error"]


async def test_events_of_types_that_concern_others_are_acknowledged(call: Caller, store: Store) -> None:
    await append(store, "orders_stream", "order.paid", {"orderId": "1"})
    await call.settled(store)
    assert await entries(store, "orders_dlq") == []


async def test_orders_are_served_one_after_another_however_fast_they_come(call: Caller, store: Store) -> None:
    random = Random(1)
    products = [f"p{number}" for number in range(8)]
    levels = {product: random.randrange(0, 60) for product in products}
    body = [{"productId": product, "available": level} for product, level in levels.items()]
    await call("PUT", "/stock", json={"levels": body})
    orders = [
        created(
            str(number), *((random.choice(products), random.randrange(1, 6)) for _ in range(random.randrange(1, 5)))
        )
        for number in range(300)
    ]
    await store.publish_all(orders)
    await call.settled(store)

    free, expected = Counter(levels), {}
    for order in orders:
        wanted = Counter[str]()
        for line in order.items:
            wanted[line.product_id] += line.quantity
        served = wanted <= free
        expected[order.order_id] = "inventory.reserved" if served else "inventory.rejected"
        free.subtract(wanted if served else {})
    assert {event["data"]["orderId"]: event["type"] for event in await said(store)} == expected
    assert set(expected.values()) == {"inventory.reserved", "inventory.rejected"}
    for product in products:
        assert await stock(call, product) == (free[product], levels[product] - free[product])


async def test_replicas_together_never_sell_a_piece_twice(connect: Connect, store: Store, settings: Settings) -> None:
    router = inventory_router(InventorySettings(**dict(settings)))
    stores = [await connect(pod_name=f"pod-{number}") for number in (1, 2, 3)]
    consumers = [Consumer(each, router) for each in stores]
    await store.commit(put({"tea": 100}))
    async with running(*consumers):
        for number in range(0, 300, 10):
            await store.publish_all([ordered(f"{order_id}", tea=1) for order_id in range(number, number + 10)])
        await until_idle(store, *consumers, timeout=PATIENCE)
    outcomes = Counter(event["type"] for event in await said(store))
    assert outcomes == {"inventory.reserved": 100, "inventory.rejected": 200}
    levels = await store.redis.hgetall(store.key("stock"))
    assert levels == {b"tea:available": b"0", b"tea:reserved": b"100"}


async def test_committed_in_any_order_the_end_is_the_same(store: Store, settings: Settings) -> None:
    router = inventory_router(InventorySettings(**dict(settings)))
    await store.commit(put({"tea": 2}))
    for number, kinds in enumerate(permutations((ordered, ordered, cancelled, cancelled))):
        order_id = f"order {number}"
        for kind in kinds:
            event = ordered(order_id, tea=2) if kind is ordered else cancelled(order_id)
            await store.commit(decided(router, event))
        told = [event["type"] for event in await said(store) if event["data"]["orderId"] == order_id]
        assert told in (["inventory.reserved", "inventory.released"], ["inventory.rejected"])
        assert await store.redis.hmget(store.key("stock"), "tea:available", "tea:reserved") == [b"2", b"0"]


async def test_committed_at_the_same_time_the_end_is_the_same(
    connect: Connect, store: Store, settings: Settings
) -> None:
    router = inventory_router(InventorySettings(**dict(settings)))
    replicas = [await connect(pod_name=f"pod-{number}") for number in range(4)]
    await store.commit(put({"tea": 6}))
    for number in range(50):
        both = ordered(f"order {number}", tea=2), cancelled(f"order {number}")
        shared = zip(replicas, (*both, *both), strict=True)
        await asyncio.gather(*(replica.commit(decided(router, event)) for replica, event in shared))
        assert await store.redis.hmget(store.key("stock"), "tea:available", "tea:reserved") == [b"6", b"0"]


async def test_the_server_does_what_the_tests_of_the_rules_believe_it_does(store: Store, settings: Settings) -> None:
    """The rules are tested on `Memory`; here the same story is told to it and to a server."""
    router, random, memory = inventory_router(InventorySettings(**dict(settings))), Random(2), Memory()
    beginning = put({"tea": 9, "milk": 5})
    memory.commit(beginning)
    await store.commit(beginning)
    for _ in range(200):
        order_id = str(random.randrange(40))
        event = random.choice([ordered(order_id, tea=random.randrange(1, 4), milk=1), cancelled(order_id)])
        memory.commit(decided(router, event))
        await store.commit(decided(router, event))
    found = {key: await store.redis.hgetall(store.key(key)) for key in memory.hashes}
    assert found == {
        key: {name.encode(): value.encode() for name, value in fields.items()} for key, fields in memory.hashes.items()
    }
    assert [event["data"] for event in await said(store)] == [
        event.model_dump(mode="json", by_alias=True, exclude_none=True) for event in memory.published
    ]


async def test_the_handler_alone_decides_what_is_to_be_committed() -> None:
    """The isolated consumer test: no server, no consumer, just an event and what is made of it."""
    transaction = decided(inventory_router(InventorySettings()), ordered("1", tea=2))
    assert (available("tea") >= 2) in transaction.when
    assert publish(InventoryReserved(**dict(ordered("1", tea=2)))) in transaction.then
