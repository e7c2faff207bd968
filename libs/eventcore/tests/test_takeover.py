"""Takeover by heartbeat: what the dead held is handled by the living, and the living are left alone."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta
from functools import partial

import pytest
from pydantic import SecretStr
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from eventcore import Consumer, Router, Store, Transaction, publish
from eventcore.consume import group_member as streams
from eventcore.consume import takeover
from eventcore.operate.retention import Retention
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect, StartServer

from .dying import Hanging, consumer, killed_at_the_end, leave_behind
from .samples import GROUP, RETRY_STREAM, STREAM, Ordered, Shipped, acknowledge, noting, publish_orders, router_for

BEATS = f"{STREAM}:{GROUP}:beats"


async def members(store: Store, stream: str = STREAM) -> set[str]:
    return {row["name"].decode() for row in await store.redis.xinfo_consumers(stream, GROUP)}


async def test_what_a_dead_consumer_held_is_handled_by_a_peer(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="dead"), 20)
    store, handled = await connect(), list[str]()
    await run_until_idle(store, consumer(store, noting(handled)))
    assert sorted(handled, key=int) == [str(number) for number in range(20)]


async def test_a_dead_consumer_is_removed_once_it_holds_nothing(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="dead"), 1)
    idle = consumer(await connect(pod_name="idle and dead"), acknowledge)
    async with killed_at_the_end(idle):
        await until(lambda: idle.joined)
    store = await connect()
    living = consumer(store, acknowledge)
    async with running(living):
        await until(partial(is_alone, store, "pod-1", STREAM))
        await until(partial(is_alone, store, "pod-1", RETRY_STREAM))


async def is_alone(store: Store, name: str, stream: str) -> bool:
    beats = {member.decode() for member in await store.redis.zrange(f"{stream}:{GROUP}:beats", 0, -1)}
    return await members(store, stream) <= {name} and beats == {name}


@pytest.mark.parametrize("ahead", [3_600_000.0, math.inf])
async def test_a_dead_consumer_whose_last_beat_lies_ahead_of_the_clock_is_dead_all_the_same(
    connect: Connect, ahead: float
) -> None:
    await leave_behind(await connect(pod_name="dead"), 1)
    store, handled = await connect(), list[str]()
    for stream in (STREAM, RETRY_STREAM):
        await store.redis.zincrby(f"{stream}:{GROUP}:beats", ahead, "dead")
    await run_until_idle(store, consumer(store, noting(handled)))
    assert handled == ["0"]


async def test_after_a_jump_of_the_servers_clock_nobody_is_taken_for_dead_at_once(connect: Connect) -> None:
    await leave_behind(await connect(pod_name="looks dead"), 1)
    store, handled, loop = await connect(), list[float](), asyncio.get_running_loop()
    seconds, _ = await store.redis.time()
    store.clock.note((seconds - 3600) * 1000, time.monotonic())
    began = loop.time()
    await run_until_idle(store, consumer(store, noting(handled, lambda order: loop.time())))
    assert handled[0] - began >= 2 * store.settings.dead_after_seconds


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
    server, calls, handlers_may_end = (
        start_server(append_only=True, options={"appendfsync": "always"}),
        list[str](),
        asyncio.Event(),
    )

    async def send(order: Ordered) -> Transaction:
        calls.append(order.order_id)
        await handlers_may_end.wait()
        return Transaction()

    here, there = [await connect(redis_url=SecretStr(server.url), pod_name=f"pod-{n}") for n in (1, 2)]
    pods = [consumer(store, send) for store in (here, there)]
    async with running(*pods):
        await until(lambda: all(pod.joined for pod in pods))
        await publish_orders(here, *range(10))
        await until(lambda: len(calls) == 10)
        await asyncio.to_thread(server.kill)
        slow_to_come_back = delay_connecting(there)
        silent = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - silent > 1)  # longer than the dead are silent
        await asyncio.to_thread(server.restart)

        beat = await until(partial(beat_of, here, pods[0]))
        for _ in range(3):
            beat = await until(partial(later_beat_of, here, pods[0], beat))
        slow_to_come_back.set()
        await until(partial(later_beat_of, here, pods[1], beat))
        handlers_may_end.set()
        await until_idle(here, *pods)
    assert sorted(calls) == [str(number) for number in range(10)]


def delay_connecting(store: Store) -> asyncio.Event:
    """Let the store not connect again before the event is set."""
    event, connect_now = asyncio.Event(), store.commands._connect

    async def connect_later() -> AbstractConnection:
        await event.wait()
        return await connect_now()

    store.commands._connect = connect_later
    return event


async def beat_of(store: Store, pod: Consumer) -> float:
    try:
        return float(await store.redis.zscore(BEATS, pod.member.consumer) or 0)
    except RedisError:
        return 0


async def later_beat_of(store: Store, pod: Consumer, before: float) -> float:
    beat = await beat_of(store, pod)
    return beat if beat > before else 0


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
    monkeypatch.setattr(streams, "FOREIGN_IDLE", timedelta(seconds=0.5))
    monkeypatch.setattr(takeover, "LOOK_AROUND_EVERY", timedelta(seconds=0.05))
    store, handled = await connect(), list[float]()
    loop = asyncio.get_running_loop()
    await publish_orders(store, 1)
    await store.redis.xgroup_create(STREAM, GROUP, id="0")
    await store.redis.xreadgroup(GROUP, "of another library", {STREAM: ">"})
    delivered = loop.time()
    await run_until_idle(store, consumer(store, noting(handled, lambda order: loop.time())))
    assert len(handled) == 1
    assert handled[0] - delivered >= 0.5


async def test_a_trimmed_delivery_is_told_of_and_not_tried_for_ever(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    await leave_behind(await connect(pod_name="dead"), 3)
    store, handled = await connect(), list[str]()
    await store.redis.xtrim(STREAM, maxlen=1, approximate=False)
    await run_until_idle(store, consumer(store, noting(handled)))
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
    router: Router = router_for(noting(handled))
    await run_until_idle(store, Consumer(store, router))
    assert handled == ["1", "1"]


async def test_a_consumer_that_has_come_back_is_not_robbed(connect: Connect) -> None:
    store = await connect(pod_name="living")
    living, other = consumer(store, Hanging()), consumer(await connect(), Hanging())
    await publish_orders(store, 1)
    async with killed_at_the_end(living):
        await until(lambda: len(living.holding) == 1)
        robbed = await other.member.take_over(STREAM, "living", dead_after=timedelta(seconds=0.8), count=10)
    assert robbed == ([], [])


async def test_a_dead_consumer_is_taken_over_from_whatever_its_name_is(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FOREIGN_IDLE", timedelta(0))
    store, odd = await connect(), b"\xff\xfe"
    await store.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await publish_orders(store, 1, 2)
    for name in (odd, b"\xfe"):
        await store.redis.xreadgroup(GROUP, name, {STREAM: ">"}, count=1)
    await store.redis.zadd(f"{STREAM}:{GROUP}:beats", {odd: 1})
    handled: list[str] = []
    peer = Consumer(store, router_for(noting(handled)))
    peer._takeover._looked_around = float("-inf")
    await run_until_idle(store, peer)
    assert sorted(handled) == ["1", "2"]


async def test_no_group_name_keeps_others_from_reading_or_trimming(connect: Connect) -> None:
    store = await connect(stream_keep_entries=0, stream_keep_seconds=0, drop_groups_idle_seconds=1)
    await store.redis.xgroup_create(STREAM, b"\xff\xfe", id="0", mkstream=True)
    await publish_orders(store, 1)
    await run_until_idle(store, consumer(store, acknowledge))
    for _ in range(2):
        assert await Retention(store, [STREAM]).trim() == 0
