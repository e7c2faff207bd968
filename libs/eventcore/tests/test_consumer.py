"""A consumer hands events to handlers and commits what they decide."""

from __future__ import annotations

from eventcore import Consumer, Store, Transaction, publish
from eventcore.testing import run_until_idle

from .samples import Ordered, Shipped, router_for


async def test_an_event_is_handled_and_what_it_decides_is_committed(store: Store) -> None:
    def ship(order: Ordered) -> Transaction:
        return Transaction(then=[publish(Shipped(order_id=order.order_id))])

    await store.publish(Ordered(order_id="1"))
    await run_until_idle(store, Consumer(store, router_for(ship)))

    assert await store.redis.xlen("shipments_stream") == 1
