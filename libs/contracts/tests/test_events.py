"""The events as they stand on the wire: what is written, what is read, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    Line,
    OrderCancelled,
    OrderCreated,
    Reason,
    Shortage,
)
from eventcore import Event, Origin, Undecodable, UnsupportedVersion, decode, encode

ITEMS = (Line(product_id="11", quantity=12), Line(product_id="BANK CHARGES", quantity=1))
WIRE_ITEMS = [{"productId": "11", "quantity": 12}, {"productId": "BANK CHARGES", "quantity": 1}]
WHO = {"customer_id": "VINET", "email": "a@b.c"}
WIRE_WHO = {"customerId": "VINET", "email": "a@b.c"}
SHORT = Shortage(product_id="11", requested=12, available=3)
WIRE_SHORT = {"productId": "11", "requested": 12, "available": 3}

# Event; its type, version, stream and data as the contract has them.
CONTRACT: list[tuple[Event, str, str, str, dict[str, Any]]] = [
    (
        OrderCreated(order_id="1", items=ITEMS, **WHO),
        "order.created",
        "1.1",
        "orders_stream",
        {"orderId": "1", "items": WIRE_ITEMS, **WIRE_WHO},
    ),
    (OrderCancelled(order_id="1"), "order.cancelled", "1.0", "orders_stream", {"orderId": "1"}),
    (
        InventoryReserved(order_id="1", items=ITEMS, **WHO),
        "inventory.reserved",
        "1.0",
        "inventory_stream",
        {"orderId": "1", "items": WIRE_ITEMS, **WIRE_WHO},
    ),
    (
        InventoryRejected(order_id="1", reason=Reason.OUT_OF_STOCK, shortages=(SHORT,), **WHO),
        "inventory.rejected",
        "1.0",
        "inventory_stream",
        {"orderId": "1", "reason": "out_of_stock", "shortages": [WIRE_SHORT], **WIRE_WHO},
    ),
    (
        InventoryReleased(order_id="1", items=ITEMS, **WHO),
        "inventory.released",
        "1.0",
        "inventory_stream",
        {"orderId": "1", "items": WIRE_ITEMS, **WIRE_WHO},
    ),
]
BY_TYPE = {row[1]: row for row in CONTRACT}


@pytest.mark.parametrize(("event", "type_", "version", "stream", "data"), CONTRACT, ids=BY_TYPE)
def test_each_event_is_written_as_the_contract_has_it(
    event: Event, type_: str, version: str, stream: str, data: dict[str, Any]
) -> None:
    written = json.loads(encode(event, Origin.new("test")))
    assert (written["type"], written["metadata"]["version"], written["data"]) == (type_, version, data)
    assert event.stream == stream
    assert event.lane_key() == "1"


@pytest.mark.parametrize(("event", "type_", "version", "stream", "data"), CONTRACT, ids=BY_TYPE)
def test_each_event_reads_back_as_it_was(
    event: Event, type_: str, version: str, stream: str, data: dict[str, Any]
) -> None:
    assert decode({b"event": encode(event, Origin.new("test"))}).open(type(event)) == event


def read(kind: type[Event], data: dict[str, Any], version: str = "1.0") -> Event:
    metadata = {"eventId": "1", "timestamp": "2026-11-23T10:00:00.000Z", "version": version}
    envelope = {"type": kind.type, "data": data, "metadata": metadata}
    return decode({b"event": json.dumps(envelope).encode()}).open(kind)


def test_an_order_as_the_article_writes_it_is_read() -> None:
    line = {"productId": "gift_0001_20", "quantity": 2, "price": 9.99}
    order = read(OrderCreated, {"orderId": "order_17", "items": [line], "totalAmount": 19.98})
    items = (Line(product_id="gift_0001_20", quantity=2),)
    assert order == OrderCreated(order_id="order_17", items=items, customer_id=None, email=None)


def test_a_newer_minor_version_is_read_and_a_newer_major_one_is_not() -> None:
    data = {"orderId": "1", "items": WIRE_ITEMS, "somethingNew": True}
    assert read(OrderCreated, data, "1.9") == OrderCreated(order_id="1", items=ITEMS)
    with pytest.raises(UnsupportedVersion):
        read(OrderCreated, data, "2.0")


def test_an_absent_email_may_be_said_to_be_null() -> None:
    assert read(OrderCreated, {"orderId": "1", "items": WIRE_ITEMS, "email": None}).lane_key() == "1"


@pytest.mark.parametrize("quantity", [0, -1, 10_001, "12", 1.5, True, None], ids=repr)
def test_a_quantity_is_an_integer_from_1_to_10000(quantity: Any) -> None:
    with pytest.raises(Undecodable, match=r"data\.items\.0\.quantity"):
        read(OrderCreated, {"orderId": "1", "items": [{"productId": "11", "quantity": quantity}]})


@pytest.mark.parametrize("quantity", [1, 10_000])
def test_the_least_and_the_greatest_quantity_are_read(quantity: int) -> None:
    read(OrderCreated, {"orderId": "1", "items": [{"productId": "11", "quantity": quantity}]})


@pytest.mark.parametrize("product_id", ["", "x" * 65, "a\tb", "line\n", "\x00", "\x7f", "\x85", 11, None], ids=repr)
def test_a_product_id_is_short_text_without_control_characters(product_id: Any) -> None:
    with pytest.raises(Undecodable, match=r"data\.items\.0\.productId"):
        read(OrderCreated, {"orderId": "1", "items": [{"productId": product_id, "quantity": 1}]})


@pytest.mark.parametrize("product_id", ["1", "x" * 64, "BANK CHARGES", "gift_0001_20", "é:available", "a/b"])
def test_product_ids_of_real_shops_are_read(product_id: str) -> None:
    read(OrderCreated, {"orderId": "1", "items": [{"productId": product_id, "quantity": 1}]})


WRONG: dict[str, tuple[type[Event], dict[str, Any], str]] = {
    "no order id": (OrderCancelled, {}, "data.orderId"),
    "empty order id": (OrderCancelled, {"orderId": ""}, "data.orderId"),
    "no items": (OrderCreated, {"orderId": "1"}, "data.items"),
    "empty items": (OrderCreated, {"orderId": "1", "items": []}, "data.items"),
    "unknown reason": (InventoryRejected, {"orderId": "1", "reason": "mood", "shortages": []}, "data.reason"),
}


@pytest.mark.parametrize(("kind", "data", "field"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(kind: type[Event], data: dict[str, Any], field: str) -> None:
    with pytest.raises(Undecodable, match=field.replace(".", r"\.")):
        read(kind, data)
