"""The order service following the inventory's events, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, Line, Reason, Shortage
from eventcore import Event, Settings, Store
from eventcore.testing.fixtures import Connect
from libs.contracts.tests.calling import Caller
from libs.contracts.tests.memory import fields_put
from libs.contracts.tests.streams import append, decided, entries
from order_service.domain.order import order
from order_service.domain.status import OrderStatus
from order_service.handlers import order_router
from order_service.orders import Orders, SoughtOrders
from order_service.settings import OrderSettings
from services.order.tests.orders import an_order

ITEMS = (Line(product_id="11", quantity=12),)
SHORT = Shortage(product_id="11", requested=12, available=3)


def reserved(order_id: str) -> Event:
    return InventoryReserved(order_id=order_id, items=ITEMS)


def rejected(order_id: str) -> Event:
    return InventoryRejected(order_id=order_id, reason=Reason.OUT_OF_STOCK, shortages=(SHORT,))


def never_tried(order_id: str) -> Event:
    return InventoryRejected(order_id=order_id, reason=Reason.ORDER_CANCELLED)


def released(order_id: str) -> Event:
    return InventoryReleased(order_id=order_id, items=ITEMS)


async def place(call: Caller) -> str:
    items = [{"productId": "11", "quantity": 12}]
    order_id: str = (await call("POST", "/orders", 202, json={"items": items}))["id"]
    return order_id


ENDS: dict[str, tuple[list[Callable[[str], Event]], dict[str, Any]]] = {
    "reserved": ([reserved], {"status": "confirmed"}),
    "rejected": (
        [rejected],
        {
            "status": "rejected",
            "reason": "out_of_stock",
            "shortages": [{"productId": "11", "requested": 12, "available": 3}],
        },
    ),
    "never tried": ([never_tried], {"status": "cancelled", "reason": "order_cancelled"}),
    "released": ([reserved, released], {"status": "cancelled"}),
    "released before it was reserved": ([released, reserved], {"status": "cancelled"}),
    "everything twice": ([reserved, reserved, released, released], {"status": "cancelled"}),
}


@pytest.mark.parametrize(("events", "end"), ENDS.values(), ids=ENDS)
async def test_an_order_ends_as_the_inventory_says(
    call: Caller, store: Store, events: list[Callable[[str], Event]], end: dict[str, Any]
) -> None:
    order_id = await place(call)
    await store.publish_all([event(order_id) for event in events])
    await call.settled(store)
    found = await call("GET", f"/orders/{order_id}")
    assert {name: found[name] for name in ("status", "reason", "shortages") if name in found} == end
    assert found["updatedAt"] >= found["createdAt"]


async def test_a_rejected_order_can_not_be_cancelled(call: Caller, store: Store) -> None:
    order_id = await place(call)
    await store.publish(rejected(order_id))
    await call.settled(store)
    await call("POST", f"/orders/{order_id}/cancel", 409)
    assert (await call("GET", f"/orders/{order_id}"))["status"] == "rejected"
    assert await store.redis.xlen(store.key("orders_stream")) == 1


async def test_events_of_orders_that_are_not_ours_are_acknowledged(call: Caller, store: Store) -> None:
    await store.publish_all([reserved("order_17"), rejected("order_18"), released("order_19")])
    await call.settled(store)
    assert await call("GET", "/orders") == {"orders": [], "nextCursor": None}
    assert await store.redis.xlen(store.key("inventory_dlq")) == 0


async def test_an_unknown_reason_becomes_a_dead_letter_that_says_so(call: Caller, store: Store) -> None:
    await append(store, "inventory_stream", "inventory.rejected", {"orderId": "1", "reason": "mood"})
    await call.settled(store)
    [letter] = await entries(store, "inventory_dlq")
    assert (letter[b"reason"], letter[b"group"]) == (b"undecodable", b"order-group")
    assert b"data.reason" in letter[b"error"]


STORIES = {
    "cancelled": (reserved, released, "cancel", "cancel"),
    "never tried": (never_tried, "cancel", never_tried),
}
Step = Callable[[str], Event] | str


async def take(step: Step, order_id: str, store: Store, settings: OrderSettings) -> None:
    """What a replica does about an event, or about the wish to cancel."""
    if isinstance(step, str):
        await Orders(store, settings.keep).cancel(order_id)
    else:
        await store.commit(decided(order_router(settings), step(order_id)))


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_committed_in_any_order_the_end_is_the_same(
    store: Store, settings: Settings, story: tuple[Step, ...]
) -> None:
    own = OrderSettings(**dict(settings))
    orders = Orders(store, own.keep)
    for number, steps in enumerate(permutations(story)):
        await orders.place(an_order(f"order {number}"), None)
        for step in steps:
            await take(step, f"order {number}", store, own)
    await all_are_cancelled(orders, store)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_committed_at_the_same_time_the_end_is_the_same(
    connect: Connect, store: Store, settings: Settings, story: tuple[Step, ...]
) -> None:
    own = OrderSettings(**dict(settings))
    orders = Orders(store, own.keep)
    replicas = [await connect(pod_name=f"replica-{number}") for number in range(len(story))]
    for number in range(30):
        await orders.place(an_order(f"order {number}"), None)
        steps = zip(story, replicas, strict=True)
        await asyncio.gather(*(take(step, f"order {number}", replica, own) for step, replica in steps))
    await all_are_cancelled(orders, store)


async def all_are_cancelled(orders: Orders, store: Store) -> None:
    """Every order is, and in no index but that of the cancelled ones."""
    placed = await store.redis.keys(store.key("order:*"))
    assert len(placed) > 5
    found, _ = await orders.newest(SoughtOrders(), before=None, count=1000)
    assert (len(found), {each.status for each in found}) == (len(placed), {OrderStatus.CANCELLED})
    assert await store.redis.keys(store.key("orders:*")) == [store.key("orders:cancelled").encode()]


async def test_the_handler_alone_decides_what_is_to_be_committed() -> None:
    """The isolated consumer test: no server, no consumer, just an event and what is made of it."""
    transaction = decided(order_router(OrderSettings()), reserved("1"))
    assert transaction.when == [order("1")["status"].equals("processing")]
    assert fields_put(transaction, order("1"))["status"] == "confirmed"
