"""Large entries are had few at a time, so that a consumer stays within the memory that the chart grants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventcore import Consumer, Store, Transaction, Unavailable
from eventcore.consume.portions import HAND_BYTES, READ_BYTES, Portions
from eventcore.testing import Server, run_until_idle, running, until
from eventcore.testing.fixtures import Connect

from .samples import DEAD_LETTERS, GROUP, STREAM, Ordered, noting, publish_orders, router_for
from .tool import client

LARGE = 500 * 1024
# The chart grants 256 MiB; a service has some 30 more of its own than this program.
MOST_MEBIBYTES = 200
PROGRAM = f"""
import asyncio, sys
from eventcore import Consumer, Settings, Store
from libs.eventcore.tests.samples import acknowledge, router_for

async def main():
    async with Store(Settings(redis_url=sys.argv[1]), source="large") as store:
        consumer = Consumer(store, router_for(acknowledge))
        running = asyncio.create_task(consumer.run())
        while True:
            await asyncio.sleep(0.1)
            groups = await store.redis.xinfo_groups("{STREAM}") if await store.redis.exists("{STREAM}") else []
            if groups and groups[0]["pending"] == 0 and not groups[0]["lag"]:
                break
        consumer.stop()
        await running

asyncio.run(main())
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_of_small_ones_as_many_are_read_as_the_settings_say() -> None:
    portions = Portions()
    counts = []
    for _ in range(6):
        counts.append(portions.read(256))
        portions.saw(counts[-1], 400 * counts[-1])
    assert counts[0] == READ_BYTES // (256 * 1024)
    assert counts == sorted(counts)
    assert counts[-1] == 256


def test_of_large_ones_few_are_read_at_once() -> None:
    portions = Portions()
    portions.saw(100, 100 * 400)
    portions.saw(10, 10 * LARGE)
    assert portions.read(256) == READ_BYTES // LARGE
    assert portions.within(HAND_BYTES, 1000) == HAND_BYTES // LARGE


def test_one_is_read_however_large() -> None:
    portions = Portions()
    portions.saw(1, 10**9)
    assert portions.read(256) == 1


def test_after_few_not_many_are_read() -> None:
    portions = Portions()
    for _ in range(20):
        portions.saw(1, 400)
    assert portions.read(256) == 32


async def test_of_large_ones_few_wait_for_another_attempt_before_reading_pauses(connect: Connect) -> None:
    def fail(order: Ordered) -> Transaction:
        raise Unavailable("mail server")

    store = await connect(consumer_aside=0)
    large = "x" * LARGE
    for number in range(0, 150, 10):
        await publish_orders(store, *(f"{number + further}{large}" for further in range(10)))
    consumer = Consumer(store, router_for(fail))
    async with running(consumer):
        await until(lambda: consumer.holding.paused, timeout=30)
        assert consumer.holding.waiting < 120
        await store.redis.delete(STREAM)


async def test_large_ones_are_all_handled(store: Store) -> None:
    handled: list[str] = []
    await publish_orders(store, *(f"{number}-{'x' * LARGE}" for number in range(50)))
    await run_until_idle(
        store, Consumer(store, router_for(noting(handled, lambda order: order.order_id.split("-")[0])))
    )
    assert handled == [str(number) for number in range(50)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says there how much memory was used")
@pytest.mark.parametrize("kind", ["events", "no events"])
def test_a_consumer_of_large_entries_stays_within_its_memory(kind: str, any_server: Server) -> None:
    """What can't be read becomes letters, which are as large."""
    metadata = {"eventId": "e", "timestamp": "2026-11-23T10:00:00.000Z"}
    event = {"type": "sample.ordered", "data": {"orderId": "x" * LARGE}, "metadata": metadata}
    body = json.dumps(event) if kind == "events" else "x" * LARGE
    with client(any_server) as connected:
        for _ in range(400):
            connected.xadd(STREAM, {"event": body})
        root = Path(__file__).parents[3]
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, any_server.url],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert connected.xlen(DEAD_LETTERS) == (0 if kind == "events" else 400)
        assert connected.xpending(STREAM, GROUP)["pending"] == 0
    assert int(ended.stdout.split()[-1]) / 1024 < MOST_MEBIBYTES
