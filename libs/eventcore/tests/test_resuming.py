"""A consumer that comes back takes up what is pending on it, the oldest first, and finds what it never knew of."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from eventcore import Consumer, Origin, Transaction, encode
from eventcore.consume import takeover
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .dying import Hanging, consumer, killed_at_the_end, leave_behind
from .samples import DEAD_LETTERS, GROUP, STREAM, Ordered, noting, pending, publish_orders


async def test_a_consumer_that_comes_back_takes_up_its_own(connect: Connect) -> None:
    store, handled = await connect(), list[str]()
    await leave_behind(store, 20)
    await run_until_idle(store, consumer(store, noting(handled)))
    assert handled == [str(number) for number in range(20)]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_consumer_that_comes_back_begins_with_the_oldest(kind: str, connect: Connect) -> None:
    store, handled = await connect(), list[str]()

    def handle(order: Ordered) -> Transaction:
        handled.append(order.order_id)
        return Transaction()

    async def handle_slowly(order: Ordered) -> Transaction:
        await asyncio.sleep(0)
        handle(order)
        return Transaction()

    hanging = consumer(store, Hanging())
    await publish_orders(store, *range(10), customer="one")
    async with killed_at_the_end(hanging):
        await until(lambda: len(hanging.holding) == 10)
    await publish_orders(store, *range(10, 30), customer="one")
    narrow = await connect(consumer_batch=1, consumer_concurrency=2)
    await run_until_idle(store, consumer(narrow, handle if kind == "plain" else handle_slowly))
    assert handled == [str(number) for number in range(30)]


async def test_what_was_taken_up_and_has_reported_back_is_no_killer(connect: Connect) -> None:
    store, begun = await connect(), list[str]()

    async def handle(order: Ordered) -> Transaction:
        begun.append(order.order_id)
        if len(begun) == 1:
            # As by claims of ours whose replies were lost: each has counted an attempt that never began.
            [row] = await store.redis.xpending_range(STREAM, GROUP, "-", "+", 1)
            await store.redis.xclaim(STREAM, GROUP, "pod-1", 0, [row["message_id"]], retrycount=9, justid=True)
            raise ValueError("it fails")
        return Transaction()

    await leave_behind(store, 1)
    await run_until_idle(store, consumer(store, handle))
    assert begun == ["0", "0"]
    assert not await store.redis.exists(DEAD_LETTERS)


async def test_a_killer_is_not_let_loose_because_its_letter_can_not_be_written(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store, begun = await connect(), list[str]()
    await leave_behind(store, 1)
    [row] = await store.redis.xpending_range(STREAM, GROUP, "-", "+", 1)
    await store.redis.xclaim(STREAM, GROUP, "pod-1", 0, [row["message_id"]], retrycount=3, justid=True)
    await store.redis.set(DEAD_LETTERS, "somebody's string", px=60_000)
    back = consumer(store, noting(begun))
    async with running(back):
        await until(lambda: caplog.text.count("can't dead-letter") >= 3)
        await store.redis.delete(DEAD_LETTERS)
        await until_idle(store, back)
    [(_, letter)] = await store.redis.xrange(DEAD_LETTERS)
    assert (letter[b"reason"], begun) == (b"crash_loop", [])


async def test_a_group_destroyed_before_a_consumer_has_begun_with_its_own_is_made_again(connect: Connect) -> None:
    store, handled, gate = await connect(consumer_concurrency=2), list[str](), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        await gate.wait()
        handled.append(order.order_id)
        return Transaction()

    await leave_behind(await connect(), 5)
    back = consumer(store, handle)
    async with running(back):
        await until(lambda: len(back.holding) == 2)
        await store.redis.xgroup_destroy(STREAM, GROUP)
        gate.set()
        await until_idle(store, back)
    assert set(handled) == {"0", "1", "2", "3", "4"}


async def test_an_entry_that_was_read_for_us_without_our_knowing_is_found(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "LOOK_AROUND_EVERY", timedelta(seconds=0.05))
    monkeypatch.setattr(takeover, "LOST_AFTER", timedelta(seconds=0.3))
    store, handled = await connect(), list[str]()
    living = consumer(store, noting(handled))
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


async def test_what_is_in_hand_when_the_connection_is_lost_is_not_begun_again(connect: Connect) -> None:
    store, handler = await connect(), Hanging()
    holder = consumer(store, handler)
    async with killed_at_the_end(holder):
        await publish_orders(store, 1, 2, 3)
        await until(lambda: len(handler.begun) == 3)
        for _ in range(2):
            [client] = holder._reader.greeting
            await store.redis.execute_command("CLIENT", "KILL", "ID", client)
            await until(partial(another_client, holder, client))
            await until(lambda: holder.joined)
        await publish_orders(store, 4)
        await until(lambda: len(handler.begun) == 4)
        assert [row.attempt for row in await holder.member.pending(STREAM)] == [1, 1, 1, 1]
    assert handler.begun == ["1", "2", "3", "4"]


def another_client(holder: Consumer, client: object) -> bool:
    return holder._reader.greeting != [client]
