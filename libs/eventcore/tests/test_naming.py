"""Processes of one name: the second takes a name of its own, and a restart gets its own back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from eventcore import Consumer, Store, Transaction
from eventcore.commit.committer import Committer
from eventcore.consume.group_member import NameTaken
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .dying import Hanging, consumer, killed_at_the_end, leave_behind
from .samples import GROUP, RETRY_STREAM, STREAM, Ordered, acknowledge, noting, publish_orders, router_for

BEATS, MEMBERS = f"{STREAM}:{GROUP}:beats", f"{STREAM}:{GROUP}:members"


class Slow:
    """An async handler that notes whom it has told, and takes its time."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, order: Ordered) -> Transaction:
        self.told.append(order.order_id)
        await self.gate.wait()
        return Transaction()


async def test_two_processes_of_one_name_double_nothing_and_the_second_says_so(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store, handler = await connect(dead_after_seconds=30), Slow()
    first, second = [Consumer(await connect(dead_after_seconds=30), router_for(handler)) for _ in range(2)]
    await publish_orders(store, *range(20))
    async with running(first):
        await until(lambda: len(handler.told) == 20)
        async with running(second):
            await until(lambda: second.joined)
            handler.gate.set()
            await until_idle(store, first, second)
    assert (first.member.consumer, second.member.consumer) == ("pod-1", "pod-1~2")
    assert sorted(handler.told, key=int) == [str(number) for number in range(20)]
    assert f"another process consumes as pod-1 in {GROUP}: this one is pod-1~2" in caplog.messages
    for key in (BEATS, MEMBERS, f"{RETRY_STREAM}:{GROUP}:members"):
        assert not await store.redis.exists(key)


async def test_of_many_that_start_at_once_under_one_name_each_has_its_own(connect: Connect) -> None:
    pods = [consumer(await connect(dead_after_seconds=30), acknowledge) for _ in range(4)]
    async with running(*pods):
        await until(lambda: all(pod.joined for pod in pods), timeout=30)
        assert {pod.member.consumer for pod in pods} == {"pod-1", "pod-1~2", "pod-1~3", "pod-1~4"}


async def test_a_restart_waits_for_its_old_process_to_be_dead_and_gets_back_what_that_held(connect: Connect) -> None:
    await leave_behind(await connect(), 5)
    store, handled = await connect(), list[str]()
    again = consumer(store, noting(handled))
    async with running(again):
        await until(lambda: "a process named pod-1 has beaten lately: is it alive?" in (again.problem or ""))
        await until_idle(store, again)
    assert again.member.consumer == "pod-1"
    assert sorted(handled) == [str(number) for number in range(5)]


async def test_who_loses_its_name_while_joining_joins_again_and_sends_heartbeats(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await connect(dead_after_seconds=2, heartbeat_seconds=0.1)
    pod = consumer(store, acknowledge)
    load = Committer.load_script

    async def load_while_another_has_the_name(committer: Committer) -> None:
        monkeypatch.setattr(Committer, "load_script", load)
        for stream in (STREAM, RETRY_STREAM):
            await store.redis.hset(f"{stream}:{GROUP}:members", "pod-1", "another-process noted")
        await until(lambda: "another process" in str(pod._trouble))
        await load(committer)

    monkeypatch.setattr(Committer, "load_script", load_while_another_has_the_name)
    async with running(pod):
        await until(lambda: pod.joined, timeout=30)
        beat = await store.redis.zscore(BEATS, pod.member.consumer)

        async def beats_again() -> bool:
            return bool(await store.redis.zscore(BEATS, pod.member.consumer) != beat)

        await until(beats_again, timeout=30)


async def test_a_process_does_not_beat_on_one_stream_under_a_name_that_another_has_on_the_other(
    connect: Connect,
) -> None:
    """Each would have kept the other from the whole name until it was dead."""
    pod = consumer(await connect(), acknowledge)
    redis, retry_members = pod._commands, f"{RETRY_STREAM}:{GROUP}:members"
    await redis.execute("HSET", retry_members, "pod-1", "another sample.ordered")
    with pytest.raises(NameTaken):
        await pod.member.beat(timedelta(seconds=30))
    assert await redis.execute("EXISTS", BEATS, MEMBERS, f"{RETRY_STREAM}:{GROUP}:beats") == 0
    await redis.execute("DEL", retry_members)


async def test_a_clean_restart_has_its_name_at_once(connect: Connect) -> None:
    patient = {"dead_after_seconds": 3600, "drain_seconds": 0}
    hanging = consumer(store := await connect(**patient), Hanging())
    await publish_orders(store, 1)
    async with running(hanging):
        await until(lambda: len(hanging.holding) == 1)
    again = consumer(await connect(**patient), acknowledge)
    await run_until_idle(store, again)
    assert again.member.consumer == "pod-1"


async def test_a_beat_ahead_of_the_clock_keeps_no_name_from_a_restart(connect: Connect) -> None:
    store = await connect()
    seconds, _ = await store.redis.time()
    await store.redis.zadd(BEATS, {"pod-1": (seconds + 3600) * 1000})
    again = consumer(store, acknowledge)
    await run_until_idle(store, again)
    assert again.member.consumer == "pod-1"


async def test_a_process_that_was_frozen_beats_no_more_under_a_name_that_is_another_s_by_now(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, handler = await connect(), Slow()
    frozen, other = Consumer(await connect(), router_for(handler)), consumer(await connect(), acknowledge)
    async with running(frozen):
        await until(lambda: frozen.joined)
        with monkeypatch.context() as patched:
            patched.setattr(frozen._takeover, "beat_once", partial(asyncio.sleep, 0))
            async with running(other):
                await until(lambda: other.joined)
                assert other.member.consumer == "pod-1"
                patched.undo()
                await until(lambda: frozen.member.consumer == "pod-1~2" and frozen.joined)
                await publish_orders(store, *range(10))
                handler.gate.set()
                await until_idle(store, frozen, other)
                assert await names(store) == {"pod-1", "pod-1~2"}


async def test_who_leaves_under_a_name_that_is_another_s_by_now_takes_nothing_from_it(connect: Connect) -> None:
    late, holder = consumer(await connect(), Hanging()), consumer(store := await connect(), Hanging())
    await late.member.create()
    assert await late.member.take_name("pod-1", timedelta(seconds=0)) == []
    await store.redis.zadd(BEATS, {"pod-1": 0})
    await publish_orders(store, 1)
    async with killed_at_the_end(holder):
        await until(lambda: len(holder.holding) == 1)
        assert await late.member.leave()
        assert await store.redis.zscore(BEATS, "pod-1") > 0
        assert await names(store) == {"pod-1"}


async def names(store: Store) -> set[str]:
    return {row["name"].decode() for row in await store.redis.xinfo_consumers(STREAM, GROUP)}


async def test_a_process_keeps_its_name_through_trouble_although_another_is_free_by_then(connect: Connect) -> None:
    store = await connect()
    first, second = [consumer(await connect(), acknowledge) for _ in range(2)]
    async with running(second):
        async with running(first):
            await until(lambda: first.joined and second.joined)
        assert {first.member.consumer, second.member.consumer} == {"pod-1", "pod-1~2"}
        named = second.member.consumer
        second.joined = False
        await until(lambda: second.joined)
        assert second.member.consumer == named
        assert await store.redis.zscore(BEATS, named)
