"""A consumer hands events to handlers and commits what they decide, together with the acknowledgement."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from eventcore import (
    Consumer,
    Event,
    Found,
    Hash,
    Metadata,
    Origin,
    Router,
    Store,
    String,
    Transaction,
    decode,
    publish,
)
from eventcore.consume.delivery import LetterReason
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .samples import DEAD_LETTERS, EAGER, GROUP, STREAM, Ordered, Shipped, noting, pending, publish_orders, router_for

STOCK = Hash("stock")["available"]


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("stock", "handled:*")


def ship(order: Ordered) -> Transaction:
    return Transaction(then=[publish(Shipped(order_id=order.order_id))])


async def shipped(store: Store) -> list[str]:
    """The ids of the orders that were shipped, in order."""
    return [decode(fields).data["orderId"] for _, fields in await store.redis.xrange(store.key("shipments_stream"))]


async def test_an_event_is_handled_and_what_was_decided_is_committed(store: Store) -> None:
    await publish_orders(store, 1, 2, 3)
    await run_until_idle(store, Consumer(store, router_for(ship)))
    assert await shipped(store) == ["1", "2", "3"]


async def test_events_from_before_the_group_existed_are_handled(store: Store) -> None:
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(ship)))
    await publish_orders(store, 2)
    await run_until_idle(store, Consumer(store, router_for(ship)))
    assert await shipped(store) == ["1", "2"]


async def test_a_stream_that_is_not_there_yet_is_waited_for(store: Store) -> None:
    consumer = Consumer(store, router_for(ship))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await publish_orders(store, 1)
        await until_idle(store, consumer)
    assert await shipped(store) == ["1"]


async def test_thousands_are_handled_once_each_and_in_order(store: Store) -> None:
    for start in range(0, 3000, 1000):
        await publish_orders(store, *range(start, start + 1000))
    await run_until_idle(store, Consumer(store, router_for(ship)), timeout=30)
    assert await shipped(store) == [str(number) for number in range(3000)]


async def test_an_async_handler_is_awaited_and_its_decision_committed(store: Store) -> None:
    async def ship_slowly(order: Ordered) -> Transaction:
        await asyncio.sleep(0)
        return ship(order)

    await publish_orders(store, *range(100))
    await run_until_idle(store, Consumer(store, router_for(ship_slowly)))
    assert sorted(await shipped(store), key=int) == [str(number) for number in range(100)]


async def test_a_handler_that_decides_nothing_only_acknowledges(store: Store) -> None:
    seen: list[str] = []

    def look(order: Ordered) -> Transaction:
        seen.append(order.order_id)
        return Transaction()

    await publish_orders(store, *range(1000))
    await run_until_idle(store, Consumer(store, router_for(look)))
    assert seen == [str(number) for number in range(1000)]
    assert await pending(store) == 0


async def test_a_handler_may_ask_for_the_metadata(store: Store) -> None:
    seen: list[Metadata] = []

    def look(order: Ordered, metadata: Metadata) -> Transaction:
        seen.append(metadata)
        return Transaction()

    router = Router(group=GROUP)
    router.on(Ordered)(look)
    await store.publish(Ordered(order_id="1"), event_id="e-1")
    await run_until_idle(store, Consumer(store, router))
    assert [metadata.event_id for metadata in seen] == ["e-1"]


async def test_what_an_event_causes_continues_its_trace(store: Store) -> None:
    origin = Origin.new("shop")
    await store.publish(Ordered(order_id="1"), origin=origin, event_id="e-1")
    await run_until_idle(store, Consumer(store, router_for(ship)))
    [(_, fields)] = await store.redis.xrange("shipments_stream")
    metadata = decode(fields).metadata
    assert (metadata.causation_id, metadata.source) == ("e-1", "test")
    assert metadata.correlation_id == origin.correlation_id
    assert (metadata.traceparent or "").startswith(f"00-{origin.correlation_id}-")


async def test_an_unknown_type_on_a_known_stream_is_acknowledged(store: Store) -> None:
    class Renamed(Event, type="sample.renamed", stream=STREAM):
        pass

    await store.publish(Renamed())
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(ship)))
    assert await shipped(store) == ["1"]
    assert not await store.redis.exists(DEAD_LETTERS)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"event": b"{"}, "event: not JSON"),
        ({"event": b"\xff\x00"}, "event: not JSON"),
        ({"other": b"\xff"}, "event: the entry has no such field"),
        ({"event": b'{"type": "sample.ordered", "data": {}, "metadata": {}}'}, "metadata.eventId"),
        (
            {
                "event": b'{"type": "sample.ordered", "data": {"orderId": 7},'
                b' "metadata": {"eventId": "e", "timestamp": "2026-11-23T10:00:00Z"}}'
            },
            "data.orderId",
        ),
    ],
)
async def test_an_undecodable_entry_is_dead_lettered_and_its_field_named(
    fields: dict[str, bytes], named: str, store: Store
) -> None:
    await store.redis.xadd(STREAM, fields)
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(ship)))

    [(_, letter)] = await store.redis.xrange(DEAD_LETTERS)
    assert letter[b"reason"].decode() == LetterReason.UNDECODABLE
    assert letter[b"error"].decode().startswith(named)
    assert letter[b"attempts"] == b"1"
    assert letter.get(b"event") == fields.get("event")
    assert await shipped(store) == ["1"]


async def test_a_failed_guard_is_decided_again_from_what_was_found(store: Store) -> None:
    def reserve(order: Ordered) -> Transaction:
        def refuse(found: Found) -> Transaction:
            return Transaction(then=[publish(Shipped(order_id=f"{order.order_id} refused at {found[STOCK]}"))])

        return Transaction(when=[STOCK >= 2], then=[STOCK.add(-2), *ship(order).then], otherwise=refuse)

    await store.commit(Transaction(then=[STOCK.set(5)]))
    await publish_orders(store, 1, 2, 3)
    await run_until_idle(store, Consumer(store, router_for(reserve)))
    assert await shipped(store) == ["1", "2", "3 refused at 1"]
    assert await store.redis.hget("stock", "available") == b"1"


async def test_many_replicas_share_the_work_and_double_nothing(connect: Connect, store: Store) -> None:
    def count(order: Ordered) -> Transaction:
        return Transaction(then=[Hash("stock")[order.order_id].add(1), STOCK.add(1)])

    pods = [Consumer(await connect(pod_name=f"pod-{n}", consumer_batch=10), router_for(count)) for n in range(4)]
    await publish_orders(store, *range(1000))
    await run_until_idle(store, *pods)
    counts = await store.redis.hgetall("stock")
    assert counts.pop(b"available") == b"1000"
    assert set(counts.values()) == {b"1"}
    assert len(counts) == 1000


async def test_groups_read_the_same_stream_on_their_own(store: Store) -> None:
    def consumer(group: str) -> Consumer:
        def mark(order: Ordered) -> Transaction:
            return Transaction(then=[String(f"handled:{group}:{order.order_id}").set("x", ttl=timedelta(hours=1))])

        router = Router(group=group)
        router.on(Ordered)(mark)
        return Consumer(store, router)

    await publish_orders(store, 1, 2)
    await run_until_idle(store, consumer("one"), consumer("two"))
    assert sorted(await store.redis.keys("handled:*")) == [
        b"handled:one:1", b"handled:one:2", b"handled:two:1", b"handled:two:2"
    ]  # fmt: skip


async def test_a_group_may_read_several_streams(store: Store) -> None:
    seen: list[str] = []
    router = Router(group=GROUP, retry=EAGER)
    router.on(Ordered)(noting(seen, lambda order: f"ordered {order.order_id}"))
    router.on(Shipped)(noting(seen, lambda shipping: f"shipped {shipping.order_id}"))
    await store.publish_all([Ordered(order_id="1"), Shipped(order_id="1"), Ordered(order_id="2")])
    await run_until_idle(store, Consumer(store, router))
    assert sorted(seen) == ["ordered 1", "ordered 2", "shipped 1"]


async def test_with_a_key_prefix_everything_stands_behind_it(connect: Connect) -> None:
    store = await connect(key_prefix="{shop}:")
    await publish_orders(store, 1)
    await store.redis.xadd(store.key(STREAM), {"event": b"{"})
    await run_until_idle(store, Consumer(store, router_for(ship)))
    assert await shipped(store) == ["1"]
    names = {key.decode() for key in await store.redis.keys("*")}
    assert f"{{shop}}:{DEAD_LETTERS}" in names
    assert all(name.startswith("{shop}:") for name in names)


async def test_a_consumer_that_can_not_join_says_why(store: Store) -> None:
    consumer = Consumer(store, router_for(ship))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await store.redis.delete(STREAM)
        await store.redis.set(STREAM, "somebody's string", px=60_000)
        await until(lambda: "is not joined yet: WRONGTYPE" in (consumer.problem or ""))
        await store.redis.delete(STREAM)
        await until(lambda: consumer.problem is None)


async def test_a_consumer_says_why_it_is_not_reading(store: Store) -> None:
    consumer = Consumer(store, router_for(ship))
    problems = [consumer.problem]
    async with running(consumer):
        await until(lambda: consumer.joined)
        problems.append(consumer.problem)
        consumer.stop()
        problems.append(consumer.problem)
    assert problems == [f"{GROUP} is not joined yet", None, "draining"]
