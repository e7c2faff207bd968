"""Events of one lane are handled in stream order, others side by side, and never too many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from eventcore import Consumer, Event, Retry, RetryPolicy, Router, Store, Transaction, Unavailable, publish
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .samples import EAGER, GROUP, RETRY_STREAM, STREAM, Ordered, Shipped, pending, publish_orders, router_for


class Noted(Event, type="sample.noted", stream=STREAM):
    """Stands in the same stream as orders."""


class Crowd:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self.inside = self.most = self.entered = 0

    @asynccontextmanager
    async def member(self) -> AsyncIterator[None]:
        self.inside += 1
        self.entered += 1
        self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            self.inside -= 1


async def interleaved(store: Store, customers: int = 5, orders: int = 40) -> None:
    """Publish orders 0, 1, 2 … of each customer, taking turns."""
    await store.publish_all(
        [Ordered(order_id=str(n), customer=f"c{customer}") for n in range(orders) for customer in range(customers)]
    )


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_each_lane_is_handled_in_stream_order_also_while_its_first_is_being_retried(
    kind: str, store: Store
) -> None:
    handled: dict[str, list[str]] = {}
    stumbled: set[str] = set()

    def handle(order: Ordered) -> Transaction:
        key = f"{order.customer} {order.order_id}"
        if int(order.order_id) % 7 == 0 and key not in stumbled:
            stumbled.add(key)
            raise Retry("once more")
        handled.setdefault(str(order.customer), []).append(order.order_id)
        return Transaction()

    async def handle_slowly(order: Ordered) -> Transaction:
        await asyncio.sleep(0.001 * (int(order.order_id) % 3))
        handle(order)
        return Transaction()

    await interleaved(store)
    await run_until_idle(store, Consumer(store, router_for(handle if kind == "plain" else handle_slowly)))
    assert handled == {f"c{customer}": [str(n) for n in range(40)] for customer in range(5)}
    assert len(stumbled) == 30


async def test_a_lane_goes_on_when_its_first_is_dead_lettered(store: Store) -> None:
    handled: list[str] = []

    def handle(order: Ordered) -> Transaction:
        if order.order_id == "0":
            raise ValueError("never")
        handled.append(order.order_id)
        return Transaction()

    await publish_orders(store, *range(5), customer="c")
    await run_until_idle(store, Consumer(store, router_for(handle)))
    assert handled == ["1", "2", "3", "4"]


async def test_a_lane_goes_on_when_its_first_is_taken_over_by_a_peer(store: Store) -> None:
    handled: list[str] = []

    def handle(order: Ordered) -> Transaction:
        if order.order_id == "0":
            raise Unavailable("mail server", retry_after=timedelta(seconds=0.3))
        handled.append(order.order_id)
        return Transaction()

    consumer = Consumer(store, router_for(handle))
    [first, *_] = await publish_orders(store, *range(5), customer="c")
    async with running(consumer):
        await until(lambda: consumer.holding.waiting == 1)
        await store.redis.xclaim(STREAM, GROUP, "pod-2", 0, [first])
        await until(lambda: handled == ["1", "2", "3", "4"])
        await until(lambda: len(consumer.holding) == 0)
        [row] = await store.redis.xpending_range(STREAM, GROUP, "-", "+", 10)
        assert row["consumer"] == b"pod-2"
        await store.redis.xack(STREAM, GROUP, first)


async def test_lanes_do_not_wait_for_each_other(store: Store) -> None:
    gate, handled = asyncio.Event(), set[str]()

    async def handle(order: Ordered) -> Transaction:
        if order.customer == "slow":
            await gate.wait()
        handled.add(f"{order.customer} {order.order_id}")
        return Transaction()

    consumer = Consumer(store, router_for(handle))
    await publish_orders(store, 1, 2, customer="slow")
    await publish_orders(store, 1, 2, customer="quick")
    async with running(consumer):
        await until(lambda: handled == {"quick 1", "quick 2"})
        gate.set()
        await until_idle(store, consumer)
    assert len(handled) == 4


async def test_events_without_a_lane_are_handled_side_by_side(store: Store) -> None:
    crowd, gate = Crowd(), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        async with crowd.member():
            await gate.wait()
        return Transaction()

    consumer = Consumer(store, router_for(handle))
    await publish_orders(store, *range(20))
    async with running(consumer):
        await until(lambda: crowd.inside == 20)
        gate.set()


async def test_no_more_async_handlers_run_than_allowed(connect: Connect) -> None:
    store, crowd = await connect(consumer_concurrency=4), Crowd()

    async def handle(order: Ordered) -> Transaction:
        async with crowd.member():
            await asyncio.sleep(0.001)
        return Transaction()

    await publish_orders(store, *range(100))
    await run_until_idle(store, Consumer(store, router_for(handle)))
    assert crowd.entered == 100
    assert crowd.most == 4


async def test_no_more_run_either_when_all_retries_fall_due_at_once(connect: Connect) -> None:
    store, crowd, failing = await connect(consumer_concurrency=4), Crowd(), True

    async def handle(order: Ordered) -> Transaction:
        if failing:
            raise Retry("later", after=timedelta(seconds=0.3))
        async with crowd.member():
            await asyncio.sleep(0.005)
        return Transaction()

    consumer = Consumer(store, router_for(handle))
    await publish_orders(store, *range(40))
    async with running(consumer):
        await until(lambda: consumer.holding.waiting == 40)
        failing = False
        await until_idle(store, consumer)
    assert crowd.entered == 40
    assert crowd.most == 4


async def test_no_more_run_either_when_several_streams_have_much_to_read(connect: Connect) -> None:
    store, crowd = await connect(consumer_concurrency=4), Crowd()

    async def handle(order: Ordered) -> Transaction:
        async with crowd.member():
            await asyncio.sleep(0.001)
        return Transaction()

    await publish_orders(store, *range(40))
    for _, fields in await store.redis.xrange(STREAM):
        await store.redis.xadd(RETRY_STREAM, fields)
    await run_until_idle(store, Consumer(store, router_for(handle)))
    assert crowd.entered == 80
    assert crowd.most == 4


async def test_a_lane_that_never_empties_piles_up_nothing(connect: Connect) -> None:
    store, tasks = await connect(), list[int]()

    async def handle(order: Ordered) -> Transaction:
        await asyncio.sleep(0)
        tasks.append(len(asyncio.all_tasks()))
        return Transaction()

    await publish_orders(store, *range(200), customer="one")
    await run_until_idle(store, Consumer(store, router_for(handle)))
    assert len(tasks) == 200
    assert max(tasks) < 50


async def test_what_waits_in_a_lane_is_bounded(connect: Connect) -> None:
    store, gate = await connect(consumer_concurrency=10), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        await gate.wait()
        return Transaction()

    consumer = Consumer(store, router_for(handle))
    await publish_orders(store, *range(200), customer="one")
    async with running(consumer):
        await until(lambda: len(consumer.holding) >= 10)
        assert await pending(store) <= 20
        gate.set()
        await until_idle(store, consumer)


async def test_a_commit_that_has_to_wait_does_not_hold_up_async_handlers(store: Store) -> None:
    handled: list[str] = []
    router = Router(group=GROUP, retry=EAGER)

    @router.on(Ordered)
    async def handle(order: Ordered) -> Transaction:
        handled.append(order.order_id)
        return Transaction()

    @router.on(Noted)
    def copy(note: Noted) -> Transaction:
        return Transaction(then=[publish(Shipped(order_id="1"))])

    await store.publish(Shipped(order_id="0"))
    await store.publish_all([Noted(), *(Ordered(order_id=str(n)) for n in range(3))])
    store.committer._cap = 1  # the shipments stream is full
    consumer = Consumer(store, router)
    async with running(consumer):
        await until(lambda: len(handled) == 3)
        assert len(consumer.holding) > 0
        store.committer._cap = 2
        await until_idle(store, consumer)
    assert await store.redis.xlen("shipments_stream") == 2


async def test_waits_grow_while_something_stays_out_of_reach(store: Store) -> None:
    calls: list[float] = []

    def handle(order: Ordered) -> Transaction:
        calls.append(asyncio.get_running_loop().time())
        raise Unavailable("mail server")

    retry = RetryPolicy(base=timedelta(milliseconds=2), ceiling=timedelta(seconds=60))
    consumer = Consumer(store, router_for(handle, retry=retry))
    await publish_orders(store, 1)
    async with running(consumer):
        await until(lambda: len(calls) >= 6)
        early = len(calls)
        await until(lambda: asyncio.get_running_loop().time() - calls[0] > 1)
    assert len(calls) - early < 20
