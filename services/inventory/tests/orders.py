"""Events for the inventory's tests."""

from __future__ import annotations

from contracts import Line, OrderCancelled, OrderCreated


def ordered(order_id: str = "1", /, **quantities: int) -> OrderCreated:
    """`ordered("1", tea=2, milk=1)`."""
    return created(order_id, *quantities.items())


def created(order_id: str, *lines: tuple[str, int]) -> OrderCreated:
    """`created("1", ("tea", 2), ("tea", 1))`, for lines of the same product."""
    items = tuple(Line(product_id=product, quantity=quantity) for product, quantity in lines)
    return OrderCreated(order_id=order_id, items=items, customer_id="VINET", email="vinet@example.com")


def cancelled(order_id: str = "1") -> OrderCancelled:
    """The order's cancellation."""
    return OrderCancelled(order_id=order_id)
