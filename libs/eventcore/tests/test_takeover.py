"""Takeover by heartbeat: what the dead held is handled by the living, and the living are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import pytest
from pydantic import SecretStr

from eventcore import Consumer, Origin, Router, Store, Transaction, encode, publish, streams, takeover
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect, StartServer

from .samples import GROUP, RETRY_STREAM, STREAM, Handler, Ordered, Shipped, pending, publish_orders, router_for

BEATS = f"{STREAM}:{GROUP}:beats"


class Hanging:
    """An async handler that never returns."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def __call__(self, order: Ordered) -> None:
        self.begun.append(order.order_id)
        await asyncio.Event().wait()


@asynccontextmanager
async def killed_at_the_end(*consumers: Consumer) -> AsyncIterator[None]:
    """Run consumers beside the block; at its end they fall silent without a word, as if killed."""
    tasks = [asyncio.create_task(each.run()) for each in consumers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def leave_behind(store: Store, number: int) -> None:
    """Let the store's pod die with so many deliveries in hand."""
    handler = Hanging()
    await publish_orders(store, *range(number))
    async with killed_at_the_end(Consumer(store, router_for(handler))):
        await until(lambda: len(handler.begun) == number)
    assert await pending(store) == number


def consumer(store: Store, handler: Handler) -> Consumer:
    return Consumer(store, router_for(handler))


async def members(store: Store, stream: str = STREAM) -> set[str]:
    return {row["name"].decode() for row in await store.redis.xinfo_consumers(stream, GROUP)}


async def test_what_a_dead_consumer_held_is_handled_by_a_peer(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="dead"), 20)
    store, handled = await connect(), list[str]()
    await run_until_idle(store, consumer(store, lambda order: handled.append(order.order_id)))
    assert sorted(handled, key=int) == [str(number) for number in range(20)]


async def test_a_dead_consumer_is_removed_once_it_holds_nothing(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="dead"), 1)
    idle = consumer(await connect(pod_name="idle and dead"), lambda order: None)
    async with killed_at_the_end(idle):
        await until(lambda: idle.joined)
    store = await connect()
    living = consumer(store, lambda order: None)
    async with running(living):
        await until(partial(is_alone, store, "pod-1", STREAM))
        await until(partial(is_alone, store, "pod-1", RETRY_STREAM))


async def is_alone(store: Store, name: str, stream: str) -> bool:
    beats = {member.decode() for member in await store.redis.zrange(f"{stream}:{GROUP}:beats", 0, -1)}
    return await members(store, stream) <= {name} and beats == {name}


async def test_peers_share_what_they_take_over(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="dead", consumer_concurrency=100), 100)
    handlers = [Hanging() for _ in range(3)]
    peers = [
        consumer(await connect(pod_name=f"pod-{number}", consumer_concurrency=40), handler)
        for number, handler in enumerate(handlers)
    ]
    async with killed_at_the_end(*peers):
        await until(lambda: sum(len(handler.begun) for handler in handlers) == 100)
    assert sorted(len(handler.begun) for handler in handlers) == [20, 40, 40]
    assert len({order for handler in handlers for order in handler.begun}) == 100


async def test_a_takeover_counts_as_an_attempt(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="dead"), 1)
    peer = consumer(await connect(), Hanging())
    async with killed_at_the_end(peer):
        await until(lambda: len(peer.holding) == 1)
        [row] = await peer.member.pending(STREAM)
        assert row.attempt == 2


async def test_a_long_handler_in_a_living_consumer_is_never_disturbed(connect: Connect) -> None:
    calls: list[str] = []

    async def slow(order: Ordered) -> Transaction:
        calls.append(order.order_id)
        await asyncio.sleep(2)
        return Transaction(then=[publish(Shipped(order_id=order.order_id))])

    quick = {"heartbeat_seconds": 0.1, "dead_after_seconds": 1.0}
    store = await connect(**quick)
    pods = [consumer(store, slow), consumer(await connect(pod_name="pod-2", **quick), slow)]
    await publish_orders(store, *range(6))
    await run_until_idle(store, *pods)
    assert sorted(calls) == [str(number) for number in range(6)]
    assert await store.redis.xlen("shipments_stream") == 6


async def test_nobody_is_taken_for_dead_because_the_server_was_away(
    start_server: StartServer, connect: Connect
) -> None:
    server, calls, gate = start_server(), list[str](), asyncio.Event()

    async def send(order: Ordered) -> None:
        calls.append(order.order_id)
        await gate.wait()

    stores = [await connect(redis_url=SecretStr(server.url), pod_name=f"pod-{n}") for n in (1, 2)]
    pods = [consumer(store, send) for store in stores]
    async with running(*pods):
        await until(lambda: all(pod.joined for pod in pods))
        await publish_orders(stores[0], *range(10))
        await until(lambda: len(calls) == 10)
        server.pause()
        silent = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - silent > 1.2)  # longer than the dead are silent
        server.resume()
        for pod in pods:
            before = await beat_of(stores[0], pod)
            await until(partial(later_beat_of, stores[0], pod, before))
        gate.set()
        await until_idle(stores[0], *pods)
    assert sorted(calls) == [str(number) for number in range(10)]


async def beat_of(store: Store, pod: Consumer) -> float:
    return float(await store.redis.zscore(BEATS, pod.member.consumer) or 0)


async def later_beat_of(store: Store, pod: Consumer, before: float) -> bool:
    return await beat_of(store, pod) > before


async def test_a_consumer_that_comes_back_takes_up_its_own(connect: Connect) -> None:
    store, handled = await connect(), list[str]()
    await leave_behind(store, 20)
    await run_until_idle(store, consumer(store, lambda order: handled.append(order.order_id)))
    assert handled == [str(number) for number in range(20)]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_consumer_that_comes_back_begins_with_the_oldest(kind: str, connect: Connect) -> None:
    store, handled = await connect(consumer_batch=10), list[str]()

    def handle(order: Ordered) -> None:
        handled.append(order.order_id)

    async def handle_slowly(order: Ordered) -> None:
        await asyncio.sleep(0)
        handle(order)

    hanging = consumer(store, Hanging())
    await publish_orders(store, *range(10), customer="one")
    async with killed_at_the_end(hanging):
        await until(lambda: len(hanging.holding) == 10)
    await publish_orders(store, *range(10, 30), customer="one")
    await run_until_idle(store, consumer(store, handle if kind == "plain" else handle_slowly))
    assert handled == [str(number) for number in range(30)]


async def test_a_delivery_that_a_peer_has_committed_meanwhile_writes_nothing(connect: Connect) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def ship(order: Ordered) -> Transaction:
        begun.set()
        await gate.wait()
        return Transaction(then=[publish(Shipped(order_id=order.order_id))])

    store = await connect()
    slow = consumer(store, ship)
    [entry_id] = await publish_orders(store, 1)
    async with running(slow):
        await begun.wait()
        await store.redis.xclaim(STREAM, GROUP, "pod-2", 0, [entry_id])
        await store.redis.xack(STREAM, GROUP, entry_id)
        gate.set()
        await until(lambda: len(slow.holding) == 0)
    assert not await store.redis.exists("shipments_stream")


async def test_a_stranger_that_never_beat_is_taken_over_only_after_a_long_silence(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "foreign_idle", timedelta(seconds=0.5))
    monkeypatch.setattr(takeover, "look_around_every", timedelta(seconds=0.05))
    store, handled = await connect(), list[float]()
    loop = asyncio.get_running_loop()
    await publish_orders(store, 1)
    await store.redis.xgroup_create(STREAM, GROUP, id="0")
    await store.redis.xreadgroup(GROUP, "of another library", {STREAM: ">"})
    delivered = loop.time()
    await run_until_idle(store, consumer(store, lambda order: handled.append(loop.time())))
    assert len(handled) == 1
    assert handled[0] - delivered >= 0.5


async def test_an_entry_that_was_read_for_us_without_our_knowing_is_found(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "look_around_every", timedelta(seconds=0.05))
    monkeypatch.setattr(takeover, "lost_after", timedelta(seconds=0.3))
    store, handled = await connect(), list[str]()
    living = consumer(store, lambda order: handled.append(order.order_id))
    async with running(living):
        await until(lambda: living.joined)
        # As by a read of ours whose connection we had given up while the server was frozen.
        together = store.redis.pipeline(transaction=True)
        together.xadd(STREAM, {"event": encode(Ordered(order_id="lost"), Origin.new("test"))})
        together.xreadgroup(GROUP, "pod-1", {STREAM: ">"})
        await together.execute()
        assert await pending(store) == 1
        await until_idle(store, living)
    assert handled == ["lost"]


async def test_a_trimmed_delivery_is_told_of_and_not_tried_for_ever(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    await leave_behind(await connect(pod_name="dead"), 3)
    store, handled = await connect(), list[str]()
    await store.redis.xtrim(STREAM, maxlen=1, approximate=False)
    await run_until_idle(store, consumer(store, lambda order: handled.append(order.order_id)))
    assert handled == ["2"]
    assert sum("trimmed before it was handled: it is lost" in message for message in caplog.messages) == 2


async def test_what_is_redriven_to_a_dead_consumer_is_taken_over_too(connect: Connect) -> None:
    dead = Consumer(await connect(pod_name="dead"), router_for(Hanging()))
    store, handled = await connect(), list[str]()
    await publish_orders(store, 1)
    async with killed_at_the_end(dead):
        await until(lambda: len(dead.holding) == 1)
        [(_, fields)] = await store.redis.xrange(STREAM)
        await store.redis.xadd(RETRY_STREAM, fields)
        await until(lambda: len(dead.holding) == 2)
    router: Router = router_for(lambda order: handled.append(order.order_id))
    await run_until_idle(store, Consumer(store, router))
    assert handled == ["1", "1"]
