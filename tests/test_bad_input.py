"""Whatever stands in the streams, no service loops or dies: it reads on, and what is no event explains itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application

from eventcore import Settings, Store, Undecodable, decode
from eventcore.testing import until_idle
from eventcore.testing.fixtures import Connect
from inventory_service.app import create_app as inventory
from inventory_service.handlers import inventory_router
from inventory_service.settings import InventorySettings
from libs.contracts.tests import hostile
from libs.contracts.tests.calling import PATIENCE, Caller
from notification_service.app import create_app as notification
from notification_service.settings import NotificationSettings
from order_service.app import create_app as order
from order_service.handlers import order_router
from order_service.settings import OrderSettings

APPS: list[tuple[Callable[[Any], Application], type[Settings]]] = [
    (order, OrderSettings),
    (inventory, InventorySettings),
    (notification, NotificationSettings),
]
STREAMS = {"order": "orders_stream", "inventory": "inventory_stream"}
HANDLERS = {**order_router(OrderSettings()).handlers, **inventory_router(InventorySettings()).handlers}
SPOILED = [(example["type"], *each) for example in hostile.examples() for each in hostile.spoiled(example)]


def test_an_event_with_one_place_spoiled_is_decided_upon_or_refused_by_name() -> None:
    decided, unnamed = 0, []
    for _, place, raw in SPOILED:
        try:
            envelope = decode({b"event": raw})
            if handler := HANDLERS.get(envelope.type):
                handler.function(envelope.open(handler.event))
            decided += 1
        except Undecodable as error:
            if not names(str(error), ".".join(map(str, place))):
                unnamed.append((place, str(error)))
    assert unnamed == []
    # Another text, another type, an optional field left out: nobody has to refuse that.
    assert 0 < decided < 0.2 * len(SPOILED)


def names(error: str, place: str) -> bool:
    """Whether an error names this place, one around it, or one in it; or says that the whole is no JSON."""
    said, _, what = error.partition(": ")
    if said == "event":
        return what.startswith("not JSON") or not place
    return f"{place}.".startswith(f"{said}.") or f"{said}.".startswith(f"{place}.") or not place


@pytest_asyncio.fixture
async def services(settings: Settings) -> AsyncIterator[list[Caller]]:
    """The three services on one server."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(TestClient(TestServer(create(model(**dict(settings))))))
            for create, model in APPS
        ]
        yield [await Caller.of(client) for client in clients]


async def settled(store: Store, services: list[Caller]) -> None:
    """Wait until everything has been read, and has come to its end."""
    await until_idle(store, *(consumer for each in services for consumer in each.consumers), timeout=PATIENCE)


def worst(type_: str) -> dict[str, bytes]:
    """What is large, deep or broken, in place of an event of this type or in it, and what the letter names."""
    start = b'{"type":"%b","metadata":{"eventId":"e","timestamp":"2026-11-23T10:00:00Z"},"data":' % type_.encode()
    line = b'{"productId":"11","quantity":1}'
    return {
        "event: 1000": b'"' + b"x" * 1_000_000 + b'"',
        "event: 99": start + b'{"orderId":"1","items":[' + b",".join([line] * 31_000) + b"]}}",
        "event: not JSON: recursion limit": b"[" * 100_000 + b"]" * 100_000,
        "event: not JSON: number out of range": start + b'{"orderId":' + b"9" * 100_000 + b"}}",
        "event: not JSON: invalid unicode": start + b'{"orderId":"\xff\xfe"}}',
        "data.orderId: stands twice": start + b'{"orderId":"1","orderId":"2"}}',
        "data.orderId: String should have at most 200": start + b'{"orderId":"' + b"x" * 400_000 + b'"}}',
        "data.orderId: Field required": start + b'{"' + b"x" * 400_000 + b'":1}}',
    }


@pytest.mark.timeout(4 * PATIENCE)
async def test_services_read_on_over_whatever_stands_in_their_streams(connect: Connect, services: list[Caller]) -> None:
    store = await connect()
    sample = [(STREAMS[type_.partition(".")[0]], raw) for type_, _, raw in Random(0).sample(SPOILED, 150)]
    terrible = {"orders_stream": worst("order.created"), "inventory_stream": worst("inventory.reserved")}
    sample += [(stream, raw) for stream, entries in terrible.items() for raw in entries.values()]
    for stream, raw in sample:
        await store.redis.xadd(stream, {"event": raw})
    await settled(store, services)

    for stream, groups in (("orders_stream", 1), ("inventory_stream", 2)):
        letters = [fields for _, fields in await store.redis.xrange(stream.replace("stream", "dlq"))]
        assert {(letter[b"reason"], letter[b"attempts"]) for letter in letters} == {(b"undecodable", b"1")}
        for said, raw in terrible[stream].items():
            found = [letter[b"error"].decode() for letter in letters if letter[b"event"] == raw]
            assert [error.startswith(said) for error in found] == [True] * groups, found

    orders, stock, _ = services
    await stock("PUT", "/stock/tea", json={"available": 1})
    placed = await orders("POST", "/orders", 202, json={"items": [{"productId": "tea", "quantity": 1}]})
    await settled(store, services)
    assert (await orders("GET", f"/orders/{placed['id']}"))["status"] == "confirmed"
