"""Orders and the inventory's events, for the order service's tests."""

from __future__ import annotations

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, Line, Reason, Shortage
from order_service.domain.order import Order
from order_service.domain.status import Status

TEA = (Line(product_id="tea", quantity=2),)
SHORT = Shortage(product_id="tea", requested=2, available=1)
PLACED_AT = "2026-11-23T10:00:00.000Z"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

RESERVED = InventoryReserved(order_id="1", items=TEA)
RELEASED = InventoryReleased(order_id="1", items=TEA)
REJECTED = InventoryRejected(order_id="1", reason=Reason.OUT_OF_STOCK, shortages=(SHORT,))
NEVER_TRIED = InventoryRejected(order_id="1", reason=Reason.ORDER_CANCELLED)


def an_order(order_id: str = "1") -> Order:
    """An order that was just placed."""
    return Order(
        id=order_id,
        status=Status.PROCESSING,
        items=TEA,
        customer_id="VINET",
        email="vinet@example.com",
        correlation_id=TRACE,
        created_at=PLACED_AT,
        updated_at=PLACED_AT,
    )
