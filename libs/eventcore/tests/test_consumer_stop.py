"""Stopping: finish what is in hand, hand back the rest, leave the group, destroy nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from functools import partial

import pytest
from pydantic import SecretStr

from eventcore import Consumer, Retry, RetryPolicy, Store, Transaction, Unavailable, decode, publish
from eventcore.consume.settling import Processor
from eventcore.testing import run_until_idle, running, until
from eventcore.testing.fixtures import Connect, StartServer

from .samples import GROUP, STREAM, Ordered, Shipped, acknowledge, noting, pending, publish_orders, router_for

BEATS = f"{STREAM}:{GROUP}:beats"


class Patient:
    """An async handler that waits until it is let go, and then ships."""

    def __init__(self) -> None:
        self.begun, self.ended, self.gate = 0, 0, asyncio.Event()

    async def __call__(self, order: Ordered) -> Transaction:
        self.begun += 1
        await self.gate.wait()
        self.ended += 1
        return Transaction(then=[publish(Shipped(order_id=order.order_id))])


async def members(store: Store) -> set[str]:
    """The consumers that the group knows."""
    return {row["name"].decode() for row in await store.redis.xinfo_consumers(STREAM, GROUP)}


async def test_what_is_in_hand_is_finished_and_the_group_left(store: Store) -> None:
    handler = Patient()
    consumer = Consumer(store, router_for(handler))
    await publish_orders(store, *range(5))
    ended = asyncio.create_task(consumer.run())
    await until(lambda: handler.begun == 5)
    assert await members(store) == {"pod-1"}

    consumer.stop()
    await until(lambda: is_not_reading(store))
    await publish_orders(store, "too late")
    handler.gate.set()
    await ended

    assert await store.redis.xlen("shipments_stream") == 5
    assert await members(store) == set()
    assert not await store.redis.exists(BEATS)
    [group] = await store.redis.xinfo_groups(STREAM)
    assert (group["pending"], group["lag"]) == (0, 1)


async def test_an_idle_consumer_stops_at_once(store: Store) -> None:
    consumer = Consumer(store, router_for(acknowledge))
    ended = asyncio.create_task(consumer.run())
    await until(lambda: consumer.joined)
    await until(lambda: is_reading(store))
    started = time.monotonic()
    consumer.stop()
    await ended
    assert time.monotonic() - started < 1


async def is_reading(store: Store) -> bool:
    return any("b" in client["flags"] for client in await store.redis.client_list())  # blocked


async def is_not_reading(store: Store) -> bool:
    return not await is_reading(store)


async def test_what_is_not_finished_in_time_is_left_to_a_peer_who_takes_it_at_once(connect: Connect) -> None:
    hanging = Consumer(await connect(drain_seconds=0.1), router_for(Patient()))
    store, handler = await connect(pod_name="pod-2", dead_after_seconds=60), Patient()
    handler.gate.set()
    await publish_orders(store, *range(3))
    async with running(hanging):
        await until(lambda: len(hanging.holding) == 3)
    assert await pending(store) == 3

    started = time.monotonic()
    await run_until_idle(store, Consumer(store, router_for(handler)))
    assert time.monotonic() - started < 5
    assert handler.ended == 3
    assert await members(store) == set()


def holds(consumer: Consumer, number: int, *, waiting: int) -> bool:
    return (len(consumer.holding), consumer.holding.waiting) == (number, waiting)


async def attempts(store: Store) -> dict[str, int]:
    """How many attempts at each pending entry the server has counted, by the customer's order."""
    rows = await store.redis.xpending_range(STREAM, GROUP, "-", "+", 100)
    entries = {entry_id: decode(fields) for entry_id, fields in await store.redis.xrange(STREAM)}
    return {entries[row["message_id"]].data["orderId"]: row["times_delivered"] for row in rows}


async def test_handing_back_costs_no_attempt_but_a_failure_does(connect: Connect) -> None:
    async def handle(order: Ordered) -> Transaction:
        if order.order_id == "fails":
            raise Retry("it fails", after=timedelta(seconds=50))
        if order.order_id == "not now":
            raise Unavailable("mail server", retry_after=timedelta(seconds=50))
        await asyncio.Event().wait()
        return Transaction()

    store = await connect()
    await publish_orders(store, "hangs", "fails", "not now")
    for pod in ("pod-2", "pod-3", "pod-4", "pod-5"):
        router = router_for(handle, retry=RetryPolicy(attempts=9))
        consumer = Consumer(await connect(pod_name=pod, drain_seconds=0), router)
        async with running(consumer):
            await until(partial(holds, consumer, 3, waiting=2))
    assert await attempts(store) == {"hangs": 0, "fails": 4, "not now": 0}
    await run_until_idle(store, Consumer(store, router_for(acknowledge)))


async def test_handing_back_after_a_defect_costs_the_attempt(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer(store := await connect(), router_for(acknowledge))

    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    await publish_orders(store, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Processor, "process", broken)
        with pytest.raises(RuntimeError, match="a defect"):
            await consumer.run()
    assert await attempts(store) == {"1": 1}
    await run_until_idle(store, Consumer(await connect(pod_name="pod-2"), router_for(acknowledge)))


async def test_what_waits_for_another_attempt_is_left_to_a_peer(connect: Connect) -> None:
    def out_of_reach(order: Ordered) -> Transaction:
        raise Unavailable("mail server", retry_after=timedelta(seconds=50))

    failing = Consumer(await connect(), router_for(out_of_reach))
    store, handled = await connect(pod_name="pod-2", dead_after_seconds=60), list[str]()
    await publish_orders(store, *range(3))
    async with running(failing):
        await until(lambda: failing.holding.waiting == 3)
    await run_until_idle(store, Consumer(store, router_for(noting(handled))))
    assert sorted(handled) == ["0", "1", "2"]


async def test_what_waits_in_a_lane_is_left_to_a_peer(connect: Connect) -> None:
    hanging = Consumer(await connect(drain_seconds=0.05), router_for(Patient()))
    store, handled = await connect(pod_name="pod-2", dead_after_seconds=60), list[str]()
    await publish_orders(store, *range(5), customer="one")
    async with running(hanging):
        await until(lambda: len(hanging.holding) == 5)
    await run_until_idle(store, Consumer(store, router_for(noting(handled))))
    assert handled == ["0", "1", "2", "3", "4"]


async def test_a_stopping_consumer_takes_nothing_over(connect: Connect) -> None:
    handler = Patient()
    stopping = Consumer(await connect(), router_for(handler))
    store = await connect(pod_name="dead")
    await publish_orders(store, 1)
    ended = asyncio.create_task(stopping.run())
    await until(lambda: handler.begun == 1)
    stopping.stop()
    await until(lambda: is_not_reading(store))
    await publish_orders(store, 2)
    await store.redis.xreadgroup(GROUP, "dead", {STREAM: ">"})
    await store.redis.zadd(BEATS, {"dead": 0})

    beat: float | None = 0.0
    for _ in range(3):
        beat = await until(partial(newer_beat, store, beat or 0))
    held = await store.redis.xpending_range(STREAM, GROUP, "-", "+", 10)
    assert {row["consumer"] for row in held} == {b"pod-1", b"dead"}
    handler.gate.set()
    await ended


async def newer_beat(store: Store, than: float) -> float | None:
    score: float = await store.redis.zscore(BEATS, "pod-1")
    return score if score > than else None


async def test_stopping_before_the_start_or_twice_is_harmless(store: Store) -> None:
    consumer = Consumer(store, router_for(acknowledge))
    consumer.stop()
    await asyncio.wait_for(consumer.run(), 5)
    consumer.stop()
    assert consumer.draining


async def test_a_consumer_whose_server_is_gone_stops_all_the_same(start_server: StartServer, connect: Connect) -> None:
    server, handler = start_server(), Patient()
    store = await connect(redis_url=SecretStr(server.url), drain_seconds=0.2)
    consumer = Consumer(store, router_for(handler))
    await publish_orders(store, 1)
    ended = asyncio.create_task(consumer.run())
    await until(lambda: handler.begun == 1)
    server.kill()
    handler.gate.set()
    consumer.stop()
    await asyncio.wait_for(ended, 10)


async def test_trouble_with_the_server_while_stopping_makes_nothing_spin(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, beats = Patient(), list[float]()
    consumer = Consumer(store, router_for(handler))
    await publish_orders(store, 1)
    with caplog.at_level(logging.CRITICAL):
        ended = asyncio.create_task(consumer.run())
        await until(lambda: handler.begun == 1)
        beat_once = consumer._takeover.beat_once

        async def counted() -> None:
            beats.append(time.monotonic())
            await beat_once()

        monkeypatch.setattr(consumer._takeover, "beat_once", counted)
        await store.redis.delete(BEATS)
        await store.redis.set(BEATS, "somebody's string", px=60_000)  # every heartbeat fails, and fails at once
        consumer.stop()
        await until(lambda: len(beats) > 3)
        assert beats[3] - beats[0] >= 3 * store.settings.heartbeat_seconds
        await store.redis.delete(BEATS)
        handler.gate.set()
        await ended


async def test_a_consumer_that_is_cancelled_closes_its_connection(store: Store) -> None:
    before = len(await store.redis.client_list())
    consumer = Consumer(store, router_for(acknowledge))
    ended = asyncio.create_task(consumer.run())
    await until(lambda: is_reading(store))
    ended.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended
    await until(lambda: as_many_clients(store, before))


async def as_many_clients(store: Store, number: int) -> bool:
    return len(await store.redis.client_list()) <= number


async def test_leaving_never_destroys_what_is_pending(store: Store) -> None:
    consumer = Consumer(store, router_for(acknowledge))
    await publish_orders(store, 1)
    await consumer.member.create()
    await store.redis.xreadgroup(GROUP, "pod-1", {STREAM: ">"})
    assert not await consumer.member.leave()
    assert await pending(store) == 1
    assert await store.redis.zscore(BEATS, "pod-1") == 0
    await store.redis.delete(BEATS)
