"""What the inventory service says, on `inventory_stream`."""

from __future__ import annotations

from eventcore import Event

from .values import Lines, OrderId, Reason, Shortage


class InventoryReserved(Event, type="inventory.reserved", version="1.0", stream="inventory_stream", lane="order_id"):
    """Everything that was ordered is put aside."""

    order_id: OrderId
    items: Lines
    customer_id: str | None = None
    email: str | None = None


class InventoryRejected(Event, type="inventory.rejected", version="1.0", stream="inventory_stream", lane="order_id"):
    """Nothing was put aside. `shortages` names each product that was short, once."""

    order_id: OrderId
    reason: Reason
    shortages: tuple[Shortage, ...] = ()
    customer_id: str | None = None
    email: str | None = None


class InventoryReleased(Event, type="inventory.released", version="1.0", stream="inventory_stream", lane="order_id"):
    """What had been put aside is back in stock, because the order was cancelled."""

    order_id: OrderId
    items: Lines
    customer_id: str | None = None
    email: str | None = None
