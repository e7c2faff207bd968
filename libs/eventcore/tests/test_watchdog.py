"""What a consumer holds and nobody works on is named, and makes it not ready."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

import pytest

from eventcore import Consumer, Store, Transaction
from eventcore.consume.group_member import Entry
from eventcore.testing import running, until, until_idle

from .samples import STREAM, Ordered, publish_orders, router_for

EVENT = b'{"type":"sample.ordered","data":{"orderId":"1"},"metadata":{"eventId":"1","timestamp":"2026-01-01"}}'


def handle(order: Ordered) -> Transaction:
    return Transaction()


def problem_of(consumer: Consumer) -> str | None:
    return consumer.problem


async def test_a_delivery_that_nobody_works_on_is_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await until(lambda: consumer.joined)
        [held] = consumer.holding.take([Entry(STREAM, "1-1", 1, {b"event": EVENT})])
        held.type = Ordered.type
        assert problem_of(consumer) is None
        held.received_at -= 700
        said = "entry 1-1 of orders_stream (sample.ordered, handle) has been in hand for 700 s and does not move"
        assert problem_of(consumer) == said
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                consumer._watchdog.look()
        assert caplog.messages == [f"tests-group is stuck with a delivery: {said}"]
        consumer.holding.release([held])
        assert problem_of(consumer) is None


async def test_a_handler_that_takes_its_time_is_no_problem(store: Store) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait(order: Ordered) -> Transaction:
        begun.set()
        await may_end.wait()
        return Transaction()

    await publish_orders(store, 1)
    consumer = Consumer(store, router_for(wait, timeout=timedelta(seconds=100)))
    async with running(consumer):
        await begun.wait()
        [held] = consumer.holding.in_hand()
        held.began_at = held.received_at = time.monotonic() - 120
        assert problem_of(consumer) is None
        held.began_at = held.received_at = time.monotonic() - 140
        assert "does not move" in (problem_of(consumer) or "")
        may_end.set()
        await until_idle(store, consumer)
        assert problem_of(consumer) is None


async def test_who_waits_behind_others_of_its_lane_is_no_problem(store: Store) -> None:
    may_end = asyncio.Event()

    async def wait(order: Ordered) -> Transaction:
        await may_end.wait()
        return Transaction()

    await publish_orders(store, 1, 2, 3, customer="anna")
    consumer = Consumer(store, router_for(wait))
    async with running(consumer):
        await until(lambda: consumer.holding.behind == 2)
        assert len(consumer.holding.in_hand()) == 1
        for each in consumer.holding._held.values():
            each.received_at -= 10_000
        assert problem_of(consumer) is None
        may_end.set()
        await until_idle(store, consumer)
