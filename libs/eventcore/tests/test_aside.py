"""What waits for long is put aside: it holds up neither trimming nor others, and comes back when its time has come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial

import pytest

from eventcore import Consumer, Retry, RetryPolicy, Store, Transaction, Unavailable
from eventcore.consume import aside as putting_aside
from eventcore.consume import consumer as consuming
from eventcore.consume import detours
from eventcore.consume import in_flight as holding
from eventcore.consume.delivery import Delivery
from eventcore.consume.group_member import Leaving
from eventcore.operate.retention import Retention
from eventcore.server.keys import aside_entries_key, aside_key
from eventcore.telemetry import measurements
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .dying import killed_at_the_end
from .samples import DEAD_LETTERS, EAGER, GROUP, RETRY_STREAM, STREAM, Ordered, pending, publish_orders, router_for

ASIDE, ENTRIES = aside_key(STREAM, GROUP), aside_entries_key(STREAM, GROUP)
SOON = {"aside_after_seconds": 0.05}
QUICK = RetryPolicy(attempts=3, base=timedelta(seconds=0.1), ceiling=timedelta(seconds=0.2))


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OWN_FAULT_AFTER", "LONG_IN_A_LANE", "LEAST_BEHIND", "AGAIN_AFTER_REFUSAL"):
        monkeypatch.setattr(putting_aside, name, 0.4)
    monkeypatch.setattr(consuming, "_BETWEEN_PROBES", 0.1)


async def aside(store: Store) -> int:
    return int(await store.redis.zcard(store.key(ASIDE)))


async def is_aside(store: Store, count: int) -> bool:
    return await aside(store) == count and await pending(store) == 0


class Refusing:
    """A handler that raises these errors for one order, one after another, and handles all others."""

    def __init__(self, order_id: str, errors: Iterable[Exception]) -> None:
        self.order_id, self.errors = order_id, iter(errors)
        self.handled: list[str] = []

    def __call__(self, order: Ordered) -> Transaction:
        if order.order_id == self.order_id:
            for error in self.errors:
                raise error
        self.handled.append(order.order_id)
        return Transaction()


def forever(error: Exception) -> Iterator[Exception]:
    while True:
        yield error


async def test_what_waits_for_long_leaves_its_stream_and_is_handled_when_its_time_has_come(connect: Connect) -> None:
    store, handler = await connect(), Refusing("1", [Retry("later", after=timedelta(seconds=61))])
    consumer = Consumer(store, router_for(handler))
    await publish_orders(store, 1, 2)
    async with running(consumer):
        await until(partial(is_aside, store, 1))
        assert handler.handled == ["2"]
        assert not len(consumer.holding)
        await store.redis.zadd(store.key(ASIDE), dict.fromkeys(await store.redis.zrange(store.key(ASIDE), 0, 0), 1))
        await until_idle(store, consumer)
    assert handler.handled == ["2", "1"]
    assert not await store.redis.exists(store.key(ASIDE), store.key(ENTRIES))


async def test_trimming_goes_on_while_something_is_aside(connect: Connect) -> None:
    store = await connect(stream_keep_entries=0, stream_keep_seconds=0)
    handler = Refusing("1", [Unavailable("mail server", retry_after=timedelta(hours=1))])
    consumer = Consumer(store, router_for(handler))
    await publish_orders(store, *range(1, 500))
    async with running(consumer):
        await until(partial(is_aside, store, 1))
        await until(lambda: len(handler.handled) == 498)
        assert await Retention(store, [STREAM]).trim() > 300
    await store.redis.delete(store.key(ASIDE), store.key(ENTRIES))


async def test_attempts_go_on_counting_and_the_letter_tells_where_it_first_stood(connect: Connect) -> None:
    store = await connect(aside_after_seconds=0.000_001)  # however short the wait for another attempt
    handler = Refusing("1", forever(ValueError("no luck")))
    [entry_id] = await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handler, retry=QUICK)))
    [(_, letter)] = await store.redis.xrange(DEAD_LETTERS)
    assert (letter[b"attempts"], letter[b"entryId"], letter[b"stream"]) == (b"3", entry_id.encode(), STREAM.encode())
    assert letter[b"firstSeen"] < letter[b"failedAt"]
    assert await store.redis.xlen(RETRY_STREAM) > 0


async def test_what_is_out_of_reach_costs_no_attempt_aside_either(connect: Connect) -> None:
    store = await connect(**SOON)
    handler = Refusing("1", [*[Unavailable("mail server")] * 6, ValueError("once"), ValueError("twice")])
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handler, retry=QUICK)))
    assert handler.handled == ["1"]
    assert not await store.redis.exists(DEAD_LETTERS)


async def test_the_time_aside_counts_until_it_is_given_up(connect: Connect) -> None:
    store = await connect(aside_after_seconds=0.01)
    router = router_for(Refusing("1", forever(Unavailable("mail server"))), retry=QUICK)
    router.give_up_after = timedelta(seconds=0.5)
    router.handlers.clear()
    router.on(Ordered)(Refusing("1", forever(Unavailable("mail server"))))
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router))
    assert [fields[b"reason"] for _, fields in await store.redis.xrange(DEAD_LETTERS)] == [b"unavailable"]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_lane_that_stands_stops_no_other(kind: str, connect: Connect) -> None:
    """More wait in it than may be handled at once, and more than may wait for another attempt."""
    store, told = await connect(consumer_batch=50, consumer_waiting=60), set[str]()

    def tell(order: Ordered) -> Transaction:
        if order.customer == "down":
            raise Unavailable("the customer's server")
        told.add(order.order_id)
        return Transaction()

    async def tell_slowly(order: Ordered) -> Transaction:
        tell(order)
        return Transaction()

    await publish_orders(store, *range(500), customer="down")
    await publish_orders(store, "fine", customer="up")
    consumer = Consumer(store, router_for(tell if kind == "plain" else tell_slowly, retry=QUICK))
    async with running(consumer):
        await until(lambda: told == {"fine"}, timeout=20)
        assert len(consumer.holding) < 400
    await store.redis.delete(store.key(ASIDE), store.key(ENTRIES))


async def test_a_slow_lane_stops_no_other(connect: Connect) -> None:
    store, told, gate = await connect(consumer_concurrency=4, consumer_waiting=10), set[str](), asyncio.Event()

    async def tell(order: Ordered) -> Transaction:
        if order.customer == "slow":
            await gate.wait()
        told.add(order.order_id)
        return Transaction()

    await publish_orders(store, *range(100), customer="slow")
    await publish_orders(store, "fine", customer="quick")
    consumer = Consumer(store, router_for(tell))
    async with running(consumer):
        await until(lambda: told == {"fine"}, timeout=20)
        gate.set()
        await until_idle(store, consumer, timeout=40)
    assert len(told) == 101


async def test_a_lane_keeps_its_order_when_its_first_is_put_aside(connect: Connect) -> None:
    store, handled = await connect(**SOON), list[str]()
    broken = {"0": 3, "4": 2}

    def handle(order: Ordered) -> Transaction:
        if broken.get(order.order_id, 0):
            broken[order.order_id] -= 1
            raise Retry("later", after=timedelta(seconds=0.3))
        handled.append(order.order_id)
        return Transaction()

    consumer = Consumer(store, router_for(handle, retry=RetryPolicy(attempts=9, base=timedelta(milliseconds=1))))
    await publish_orders(store, 0, 1, 2, customer="c")
    async with running(consumer):
        await until(partial(is_aside, store, 3))
        await publish_orders(store, 3, 4, 5, customer="c")
        await until(lambda: broken["0"] == 1)
        await publish_orders(store, 6, 7, customer="c")
        await until_idle(store, consumer, timeout=30)
        await publish_orders(store, 8, customer="c")
        await until(lambda: handled[-1] == "8")
    assert handled == [str(number) for number in range(9)]


async def test_what_follows_in_a_lane_does_not_wait_for_ever_for_what_a_peer_has_handled(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detours, "EXPECTED_BACK_WITHIN", 1.0)
    store, handler = await connect(**SOON), Refusing("0", forever(Retry("later", after=timedelta(seconds=2))))
    consumer = Consumer(store, router_for(handler, retry=QUICK))
    await publish_orders(store, 0, 1, 2, customer="c")
    async with running(consumer):
        await until(partial(is_aside, store, 3))
        [first, *_] = await store.redis.zrange(ASIDE, 0, 0)
        await store.redis.zrem(ASIDE, first)
        await store.redis.hdel(ENTRIES, first)
        await until(lambda: handler.handled == ["1", "2"], timeout=20)


async def test_what_a_peer_has_taken_over_is_left_to_it(store: Store) -> None:
    member = Consumer(store, router_for(Refusing("1", ()))).member
    await member.create()
    [entry_id] = await publish_orders(store, 1)
    await store.redis.xreadgroup(GROUP, "peer", {STREAM: ">"})
    delivery = Delivery(STREAM, entry_id, 1, {}, 0.0)
    assert await member.put_aside([Leaving(STREAM, delivery, entry_id, "", 0, 0, (b"event", b""))], limit=9) == [False]
    assert (await aside(store), await pending(store)) == (0, 1)


async def test_refused_events_are_told_from_a_dependency_that_is_down(connect: Connect) -> None:
    """As many as may wait are refused, one after another, and the next would pass."""
    store, told = await connect(consumer_waiting=20, consumer_batch=20), set[str]()

    def tell(order: Ordered) -> Transaction:
        if order.order_id.startswith("bad"):
            raise Unavailable("500 Internal Server Error")
        told.add(order.order_id)
        return Transaction()

    await publish_orders(store, *(f"bad {number}" for number in range(30)), *range(100))
    consumer = Consumer(store, router_for(tell, retry=QUICK))
    async with running(consumer):
        await until(lambda: len(told) == 100, timeout=30)
    assert await aside(store) > 0
    await store.redis.delete(store.key(ASIDE), store.key(ENTRIES))


async def test_where_no_more_may_be_aside_all_stays_pending_and_is_said(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store = await connect(consumer_aside=2, **SOON)
    down, handled = True, list[str]()

    def handle(order: Ordered) -> Transaction:
        if down:
            raise Unavailable("mail server")
        handled.append(order.order_id)
        return Transaction()

    consumer = Consumer(store, router_for(handle, retry=RetryPolicy(base=timedelta(seconds=5))))
    await publish_orders(store, *range(6))
    async with running(consumer):
        await until(lambda: any("no more may be" in message for message in caplog.messages))
        assert (await aside(store), await pending(store)) == (2, 4)
        down = False
        await until_idle(store, consumer, timeout=30)
    assert sorted(handled) == [str(number) for number in range(6)]


async def test_with_none_allowed_nothing_is_put_aside(connect: Connect) -> None:
    store = await connect(consumer_aside=0, **SOON)
    handler = Refusing("1", [Retry("later", after=timedelta(seconds=0.5))])
    await publish_orders(store, 1)
    consumer = Consumer(store, router_for(handler))
    async with running(consumer):
        await until(lambda: consumer.holding.waiting == 1)
        await until_idle(store, consumer)
    assert not await store.redis.xlen(RETRY_STREAM)


async def test_what_can_not_be_put_aside_is_tried_where_it_is(store: Store, connect: Connect) -> None:
    await store.redis.hset(ASIDE, "somebody", "else")
    impatient = await connect(**SOON)
    handler = Refusing("1", [Retry("later", after=timedelta(seconds=0.3))])
    await publish_orders(store, 1)
    async with running(Consumer(impatient, router_for(handler))):
        await until(lambda: handler.handled == ["1"])
    assert not await store.redis.exists(ENTRIES)
    await store.redis.delete(ASIDE)


async def test_what_a_dead_consumer_has_put_aside_comes_back_to_its_peers(connect: Connect) -> None:
    handler = Refusing("1", [Retry("later", after=timedelta(seconds=1))])
    dead, store = await connect(pod_name="dead", **SOON), await connect()
    await publish_orders(dead, 1)
    async with killed_at_the_end(Consumer(dead, router_for(handler))):
        await until(partial(is_aside, store, 1))
    await run_until_idle(store, Consumer(store, router_for(handler)))
    assert handler.handled == ["1"]


async def test_what_is_due_comes_back_once_however_many_look_for_it(connect: Connect) -> None:
    store = await connect(aside_after_seconds=0.001)
    handler = Refusing("1", [Retry("later", after=timedelta(seconds=30))])
    await publish_orders(store, 1)
    consumer = Consumer(store, router_for(handler))
    async with killed_at_the_end(consumer):
        await until(partial(is_aside, store, 1))
    for name in await store.redis.zrange(ASIDE, 0, -1):
        await store.redis.zadd(ASIDE, {name: 1})
    moved = await asyncio.gather(*(consumer.member.bring_back(10) for _ in range(5)))
    assert sorted(due for due, *_ in moved) == [0, 0, 0, 0, 1]
    await run_until_idle(store, Consumer(store, router_for(handler, retry=EAGER)))
    assert handler.handled == ["1"]


async def test_what_can_not_be_read_stays_aside_and_stands_in_nobodys_way(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store, handler = await connect(), Refusing("1", [Retry("later", after=timedelta(seconds=61))])
    await store.redis.hset(ENTRIES, mapping={"odd": b"\xc1", "newer": b"\x93\x01\xc0\xa1x", "no": b"\x91\xa1x"})
    await store.redis.zadd(ASIDE, {"odd": 1, "newer": 1, "no": 1, "nothing": 1})
    [entry_id] = await publish_orders(store, 1)
    async with running(Consumer(store, router_for(handler))):
        await until(lambda: store.redis.hexists(ENTRIES, entry_id))
        await store.redis.zadd(ASIDE, dict.fromkeys(await store.redis.zrange(ASIDE, 0, -1), 2))
        await until(lambda: handler.handled == ["1"])
    assert set(await store.redis.zrange(ASIDE, 0, -1)) == {b"odd", b"newer", b"no"}
    assert caplog.text.count("has put aside as odd can't be read") == 1
    await store.redis.delete(ASIDE, ENTRIES)


async def test_a_lane_that_keeps_a_consumer_from_reading_on_is_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "STANDING_AFTER", 0.2)
    store, gate = await connect(consumer_aside=0, consumer_concurrency=2, consumer_waiting=5), asyncio.Event()

    async def hang(order: Ordered) -> Transaction:
        await gate.wait()
        return Transaction()

    consumer = Consumer(store, router_for(hang))
    [first, *_] = await publish_orders(store, *range(20), customer="c-17")
    async with running(consumer):
        await until(
            lambda: re.fullmatch(f"lane c-17 of {GROUP} has waited . s behind entry {first}", str(consumer.problem))
        )
        [(_, waits)] = measurements.behind_age.read().items()
        assert waits > 0.1
        gate.set()
        await until_idle(store, consumer)
        assert consumer.problem is None
