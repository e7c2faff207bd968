"""The works that are measured, and the events and state that they are made of."""

from __future__ import annotations

from contracts import InventoryReserved, Line, OrderCreated
from eventcore import Hash, Origin, Router, Transaction, encode, publish

PUBLISH_AWAITING = "publish, 64 awaiters"
PUBLISH_BATCHED = "publish, batched"
ACKNOWLEDGE = "consume, acknowledge"
PIPE = "consume, publish one, acknowledge"
RESERVE = "consume, reserve, publish, acknowledge"
PUBLISHING = (PUBLISH_AWAITING, PUBLISH_BATCHED)
CONSUMING = (ACKNOWLEDGE, PIPE, RESERVE)
WORKS = (*PUBLISHING, *CONSUMING)

GROUP = "bench"
AWAITERS = 64
BATCH = 500
stock = Hash("stock")
PRODUCTS = tuple(str(number) for number in range(100))
# More than any run takes, so that no guard fails and every contestant does the same writes.
PLENTY = 1_000_000_000


def orders(count: int) -> list[OrderCreated]:
    """Orders of three lines each, about 430 bytes on the wire."""
    return [order(number) for number in range(count)]


def order(number: int, lines: int = 3) -> OrderCreated:
    """One order of so many lines."""
    items = (Line(product_id=PRODUCTS[(number + step * 7) % len(PRODUCTS)], quantity=1) for step in range(lines))
    return OrderCreated(order_id=f"order-{number}", customer_id="VINET", items=tuple(items))


def payloads(count: int, lines: int = 3) -> list[bytes]:
    """Orders as they stand in a stream."""
    origin = Origin.new("bench")
    return [encode(order(number, lines), origin) for number in range(count)]


def reserved(order: OrderCreated) -> InventoryReserved:
    """The event that the last two works publish for each order."""
    return InventoryReserved(order_id=order.order_id, items=order.items)


def acknowledging(group: str = GROUP) -> Router:
    """Consume and acknowledge: decoded and validated, nothing written."""
    router = Router(group=group)

    @router.on(OrderCreated)
    def seen(order: OrderCreated) -> Transaction:
        return Transaction()

    return router


def piping() -> Router:
    """Consume, publish one, acknowledge."""
    router = Router(group=GROUP)

    @router.on(OrderCreated)
    def pipe(order: OrderCreated) -> Transaction:
        return Transaction(then=[publish(reserved(order))])

    return router


def reserving() -> Router:
    """Consume, take three products under guards, note the reservation, publish the outcome, acknowledge."""
    router = Router(group=GROUP)

    @router.on(OrderCreated)
    def reserve(order: OrderCreated) -> Transaction:
        reservation = Hash(f"reservation:{order.order_id}")
        return Transaction(
            when=[
                reservation["status"].absent(),
                *(stock[f"{line.product_id}:available"] >= line.quantity for line in order.items),
            ],
            then=[
                *(stock[f"{line.product_id}:available"].add(-line.quantity) for line in order.items),
                reservation["status"].set("reserved"),
                publish(reserved(order)),
            ],
        )

    return router
