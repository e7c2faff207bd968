# pyright: strict
"""What users get wrong, and each line's codes: mypy's, then pyright's."""

from __future__ import annotations

from eventcore import Event, Hash, Metadata, Router, Settings, Transaction, publish


class Placed(Event, type="shop.placed", stream="shop_stream"):
    order_id: str


class Withdrawn(Event, type="shop.withdrawn", stream="shop_stream"):
    order_id: str


shop, orders = Router(group="shop-group"), Hash("orders")


@shop.on(Placed)  # error: arg-type | reportArgumentType
def takes_another_event(order: Withdrawn) -> Transaction:
    return Transaction()


@shop.on(Placed)  # error: arg-type | reportArgumentType
async def takes_another_event_later(order: Withdrawn, metadata: Metadata) -> Transaction:
    return Transaction()


@shop.on(Placed)  # error: arg-type | reportArgumentType
def takes_something_else(order: Placed, mailer: str) -> Transaction:
    return Transaction()


@shop.on(Placed)  # error: arg-type | reportArgumentType
def takes_too_much(order: Placed, metadata: Metadata, mailer: str) -> Transaction:
    return Transaction()


@shop.on(Placed)  # error: arg-type | reportArgumentType
def takes_nothing() -> Transaction:
    return Transaction()


@shop.on(Placed)  # error: type-var | reportArgumentType
def returns_a_number(order: Placed) -> int:
    return 1


@shop.on(Placed)  # error: type-var | reportArgumentType
def returns_nothing(order: Placed) -> None:
    Transaction(then=[orders["x"].set(1)])


@shop.on(Placed)  # error: type-var | reportArgumentType
async def promises_nothing(order: Placed) -> None:
    Transaction(then=[orders["x"].set(1)])


@shop.on(Placed)  # error: type-var | reportArgumentType
def may_return_nothing(order: Placed) -> Transaction | None:
    return Transaction() if order.order_id else None


@shop.on(Placed)
def forgets_to_return(order: Placed) -> Transaction:  # error: return | reportReturnType
    Transaction(then=[orders[order.order_id].set(1)])


@shop.on(Placed)
async def forgets_a_branch(order: Placed) -> Transaction:  # error: return | reportReturnType
    if order.order_id:
        return Transaction()


@shop.on(Placed)  # error: - | reportArgumentType
def says_nothing_of_what_it_returns(order: Placed):  # error: no-untyped-def | -
    if order.order_id:
        return Transaction()


@shop.on  # error: arg-type | reportArgumentType
def forgets_its_event(order: Placed) -> Transaction:
    return Transaction()


@shop.on(Placed)
def decides(order: Placed, metadata: Metadata) -> Transaction:
    return Transaction()


decides(Withdrawn(order_id="1"), "")  # error: arg-type | reportArgumentType
decides(Placed(order_id=1))  # error: call-arg | reportCallIssue
Transaction(then=[orders["x"] >= 1])  # error: list-item | reportArgumentType
Transaction(when=[orders["x"].set(1)])  # error: list-item | reportArgumentType
Transaction(otherwise=lambda found: 7)  # error: arg-type | reportArgumentType
publish("order.created")  # error: arg-type | reportArgumentType
Settings(redis_url=7)  # error: arg-type | reportArgumentType
Settings(redis_uri="redis://localhost")  # error: call-arg | reportCallIssue
