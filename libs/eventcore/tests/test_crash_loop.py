"""An event that kills its process again and again ends in the dead letters, and takes no innocent with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from eventcore import Consumer, Settings, Store, Transaction, decode, publish
from eventcore.testing import run_until_idle, until
from eventcore.testing.fixtures import Connect

from .crashing import ship
from .samples import DEAD_LETTERS, Shipped, pending, publish_orders, router_for

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(settings: Settings, pytestconfig: pytest.Config) -> Iterator[Start]:
    """Start a pod in a process of its own, which ends when nothing is left to do."""
    with ExitStack() as stack:

        def pod(kind: str = "plain", names: str = "same") -> subprocess.Popen[str]:
            url = settings.url
            command = [sys.executable, "-m", "libs.eventcore.tests.crashing", url, kind, names]
            return stack.enter_context(running(command, pytestconfig.rootpath))

        yield pod


@contextmanager
def running(command: list[str], directory: os.PathLike[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def deaths(pod: subprocess.Popen[str]) -> int:
    """Wait for its end; how often it died before."""
    told, _ = pod.communicate(timeout=50)
    assert pod.returncode == 0
    return int(told)


async def letters(store: Store) -> dict[str, str]:
    """The reason for each order that was dead-lettered."""
    rows = await store.redis.xrange(DEAD_LETTERS) or ()
    return {decode(fields).data["orderId"]: fields[b"reason"].decode() for _, fields in rows}


async def shipped(store: Store) -> list[str]:
    rows = await store.redis.xrange("shipments_stream") or ()
    return sorted(decode(fields).data["orderId"] for _, fields in rows)


@pytest.mark.parametrize(("kind", "names", "killers", "died"), [("plain", "same", 2, 4), ("async", "new", 1, 3)])
async def test_a_killer_is_dead_lettered_and_innocents_survive(
    kind: str, names: str, killers: int, died: int, store: Store, start: Start
) -> None:
    guilty = [f"killer {number}" for number in range(killers)]
    innocent = [f"innocent {number}" for number in range(20)]
    await publish_orders(store, *innocent[:10], *guilty, *innocent[10:])

    assert deaths(start(kind, names)) == died
    assert await letters(store) == dict.fromkeys(guilty, "crash_loop")
    [(_, letter), *_] = await store.redis.xrange(DEAD_LETTERS)
    assert (letter[b"attempts"], letter[b"errorType"]) == (b"4", b"CrashLoop")
    assert letter[b"error"] == b"3 attempts began and none of them reported back"
    assert await shipped(store) == sorted(innocent)
    assert await pending(store) == 0


async def test_a_pod_that_was_frozen_and_thaws_doubles_nothing(connect: Connect, start: Start) -> None:
    store = await connect(pod_name="peer")
    orders = [f"slow {number}" for number in range(5)]
    await publish_orders(store, *orders)
    frozen = start("async")
    await until(lambda: holds(store, 5), timeout=30)
    os.killpg(frozen.pid, signal.SIGSTOP)

    await run_until_idle(store, Consumer(store, router_for(ship)))
    assert await shipped(store) == orders
    os.killpg(frozen.pid, signal.SIGCONT)
    assert deaths(frozen) == 0
    assert await shipped(store) == orders
    assert await letters(store) == {}


async def test_a_process_whose_event_loop_is_wedged_counts_as_dead(connect: Connect, start: Start) -> None:
    store = await connect(pod_name="peer")
    orders = ["1", "2", "wedge"]
    await publish_orders(store, *orders)
    wedged = start()
    await until(lambda: holds(store, 3), timeout=30)

    consumer = Consumer(store, router_for(lambda order: Transaction(then=[publish(Shipped(order_id=order.order_id))])))
    await run_until_idle(store, consumer)
    assert await shipped(store) == orders
    assert wedged.poll() is None


async def holds(store: Store, number: int) -> bool:
    return bool(await store.redis.exists("orders_stream:tests-group:beats")) and await pending(store) == number
