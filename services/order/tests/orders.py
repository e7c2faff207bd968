"""Orders and the inventory's events, for the order service's tests."""

from __future__ import annotations

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, Line, Reason, Shortage
from order_service.domain.order import NewOrder

TEA = (Line(product_id="tea", quantity=2),)
SHORT = Shortage(product_id="tea", requested=2, available=1)
PLACED_AT = "2026-11-23T10:00:00.000Z"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

RESERVED = InventoryReserved(order_id="1", items=TEA)
RELEASED = InventoryReleased(order_id="1", items=TEA)
REJECTED = InventoryRejected(order_id="1", reason=Reason.OUT_OF_STOCK, shortages=(SHORT,))
NEVER_TRIED = InventoryRejected(order_id="1", reason=Reason.ORDER_CANCELLED)


def an_order(order_id: str = "1") -> NewOrder:
    """An order that is placed now."""
    return NewOrder(order_id, TEA, TRACE, PLACED_AT, customer_id="VINET", email="vinet@example.com")
