"""Events and handlers that the tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from operator import attrgetter
from typing import Any

from eventcore import Event, RetryPolicy, Router, Store, Transaction

GROUP = "tests-group"
STREAM = "orders_stream"
RETRY_STREAM = f"{STREAM}:{GROUP}:retry"
DEAD_LETTERS = "orders_dlq"

# Attempts follow each other within milliseconds.
EAGER = RetryPolicy(attempts=3, base=timedelta(milliseconds=1), ceiling=timedelta(milliseconds=2))


class Ordered(Event, type="sample.ordered", version="1.1", stream=STREAM, lane="customer"):
    """Somebody ordered something. Orders of one customer are handled in order."""

    order_id: str
    customer: str | None = None


class Shipped(Event, type="sample.shipped", stream="shipments_stream"):
    """It was shipped."""

    order_id: str


Handler = Callable[[Ordered], Transaction | Awaitable[Transaction]]


def acknowledge(event: Event) -> Transaction:
    """A handler that has nothing to write."""
    return Transaction()


def noting(noted: list[Any], what: Callable[[Any], object] = attrgetter("order_id")) -> Callable[[Event], Transaction]:
    """A handler that notes what it is given: ids of orders, or what else is asked for."""

    def note(event: Event) -> Transaction:
        noted.append(what(event))
        return Transaction()

    return note


def router_for(handler: Handler, *, retry: RetryPolicy = EAGER, timeout: timedelta = timedelta(seconds=30)) -> Router:
    """A router with this handler for `Ordered`."""
    router = Router(group=GROUP, retry=retry, timeout=timeout)
    router.on(Ordered)(handler)
    return router


async def publish_orders(store: Store, *order_ids: object, customer: str | None = None) -> list[str]:
    """Publish an order with each of these ids; their entry ids."""
    return await store.publish_all([Ordered(order_id=str(order_id), customer=customer) for order_id in order_ids])


async def pending(store: Store, stream: str = STREAM) -> int:
    """How many deliveries the group has not finished with."""
    return int((await store.redis.xpending(store.key(stream), GROUP))["pending"])
