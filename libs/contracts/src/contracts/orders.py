"""What the order service says, on `orders_stream`."""

from __future__ import annotations

from eventcore import Event

from .values import Lines, OrderId


class OrderCreated(Event, type="order.created", version="1.1", stream="orders_stream", lane="order_id"):
    """Somebody ordered something. Since 1.1 it may say who."""

    order_id: OrderId
    items: Lines
    customer_id: str | None = None
    email: str | None = None


class OrderCancelled(Event, type="order.cancelled", version="1.0", stream="orders_stream", lane="order_id"):
    """The order shall not be fulfilled. May arrive before its `order.created`."""

    order_id: OrderId
