"""What somebody deletes while it is pending on us is counted as lost, and what a peer has committed is not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from eventcore import Consumer, Hash, RetryPolicy, Store, Transaction
from eventcore.telemetry.configure import scrape, start_metrics
from eventcore.testing import running, until, until_idle
from eventcore.testing.fixtures import Connect

from .samples import GROUP, STREAM, Ordered, pending, publish_orders, router_for

PATIENT = RetryPolicy(base=timedelta(seconds=0.2), ceiling=timedelta(seconds=0.3))


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("h",)


async def delete_with_references(store: Store, entry_id: str) -> None:
    """What `XDEL … DELREF` and `XTRIM … DELREF` do; where a server has neither, by two commands."""
    async with store.redis.pipeline(transaction=True) as together:
        together.xack(store.key(STREAM), GROUP, entry_id)
        together.xdel(store.key(STREAM), entry_id)
        await together.execute()


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if message.endswith("it is lost")]


async def test_what_is_deleted_while_it_waits_for_another_attempt_is_lost(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(order: Ordered) -> Transaction:
        raise ValueError("not yet")

    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(fail, retry=PATIENT))
    async with running(consumer):
        await until(lambda: consumer.holding.waiting == 1)
        await delete_with_references(store, entry_id)
        await until(lambda: lost(caplog))
        assert len(consumer.holding) == 0
    assert lost(caplog) == [f"entry {entry_id} of {STREAM} was deleted while it was pending: it is lost"]


async def test_what_is_deleted_while_its_handler_runs_is_lost(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        begun.set()
        await may_end.wait()
        return Transaction(then=[Hash("h")["a"].set(1)])

    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await begun.wait()
        await delete_with_references(store, entry_id)
        may_end.set()
        await until(lambda: lost(caplog))
    assert not await store.redis.exists("h")


async def test_a_loss_is_counted(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fail(order: Ordered) -> Transaction:
        raise ValueError("not yet")

    def counted() -> float:
        lines = [line for line in scrape().decode().splitlines() if line.startswith("eventcore_trimmed_unread_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if f'"{GROUP}"' in line)

    start_metrics("tests", store.settings)
    before = counted()
    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(fail, retry=PATIENT))
    async with running(consumer):
        await until(lambda: consumer.holding.waiting == 1)
        await delete_with_references(store, entry_id)
        await until(lambda: lost(caplog))
    assert counted() == before + 1


@pytest.mark.parametrize("command", [("XDEL",), ("XTRIM", "MAXLEN", "0")], ids=lambda command: str(command[0]))
async def test_what_loses_only_its_entry_while_it_waits_is_lost(
    command: tuple[str, ...], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(order: Ordered) -> Transaction:
        raise ValueError("not yet")

    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(fail, retry=PATIENT))
    async with running(consumer):
        await until(lambda: consumer.holding.waiting == 1)
        name, *options = command
        await store.redis.execute_command(name, store.key(STREAM), *(options or [entry_id]))
        await until(lambda: lost(caplog))
    assert await pending(store) == 0


async def test_what_a_peer_has_committed_is_not_lost(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Nor when it is trimmed before we notice: a consumer whose heartbeats were late may have lost it to a peer."""
    store = await connect(heartbeat_seconds=0.2, dead_after_seconds=0.5)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        begun.set()
        await may_end.wait()
        return Transaction(then=[Hash("h")["a"].set(1)])

    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await begun.wait()
        pulse = consumer._takeover._pulse
        pulse._beaten = (pulse._beaten or 0.0) - 60  # as if the process had been frozen
        await until(lambda: pulse._silent_until > 0)
        await delete_with_references(store, entry_id)
        may_end.set()
        await until_idle(store, consumer)
        await consumer._losses.look()
    assert lost(caplog) == []


@pytest.mark.parametrize("hand", ["XACK", "XGROUP DELCONSUMER"])
async def test_what_somebody_takes_out_of_the_pending_entries_is_lost(
    hand: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        begun.set()
        await may_end.wait()
        return Transaction(then=[Hash("h")["a"].set(1)])

    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await begun.wait()
        what = [entry_id] if hand == "XACK" else [consumer.member.consumer]
        await store.redis.execute_command(*hand.split(), store.key(STREAM), GROUP, *what)
        may_end.set()
        await until(lambda: lost(caplog))
    how = "was acknowledged by somebody else, or its consumer was deleted"
    assert lost(caplog) == [f"entry {entry_id} of {STREAM} {how}: it is lost"]
    assert not await store.redis.exists("h")


@pytest.mark.parametrize("hand", ["XCLAIM", "XGROUP DESTROY"])
async def test_what_is_still_to_be_handled_is_not_lost(
    hand: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        begun.set()
        await may_end.wait()
        return Transaction(then=[Hash("h")["a"].set(1)])

    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await begun.wait()
        what = [GROUP, "somebody", "0", entry_id] if hand == "XCLAIM" else [GROUP]
        await store.redis.execute_command(*hand.split(), store.key(STREAM), *what)
        may_end.set()
        if hand == "XCLAIM":
            await until(lambda: len(consumer.holding) == 0)
            await consumer._losses.look()
            await store.redis.xack(store.key(STREAM), GROUP, entry_id)
        await until_idle(store, consumer)
    assert lost(caplog) == []
