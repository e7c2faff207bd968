"""The helpers for tests: they wait as long as needed, and say what is wrong when they give up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from textwrap import dedent

import pytest

from eventcore import Consumer, Router, Store, Transaction, Unavailable, publish
from eventcore.testing import available_kinds, leaked_keys, run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import VARIABLE, Connect, chosen_kinds

from .samples import GROUP, STREAM, Ordered, Shipped, acknowledge, noting, publish_orders, router_for

pytest_plugins = ["pytester"]


async def test_until_returns_what_made_it_true() -> None:
    answers = iter([None, 0, "", "yes"])
    assert await until(lambda: next(answers)) == "yes"


async def test_until_awaits_a_coroutine_function() -> None:
    async def answer() -> int:
        return 7

    assert await until(answer) == 7


async def test_until_says_what_did_not_come_true() -> None:
    with pytest.raises(AssertionError, match=r"within 0\.01 s this did not come true: the cows are home"):
        await until(lambda: False, timeout=0.01, what="the cows are home")


async def test_run_until_idle_follows_events_from_group_to_group(store: Store) -> None:
    first, second, seen = router_for(ship), Router(group="second"), list[str]()
    second.on(Shipped)(noting(seen))
    await publish_orders(store, *range(50))
    await run_until_idle(store, Consumer(store, first), Consumer(store, second))
    assert len(seen) == 50


def ship(order: Ordered) -> Transaction:
    return Transaction(then=[publish(Shipped(order_id=order.order_id))])


async def test_run_until_idle_reports_what_is_left(store: Store) -> None:
    def fail(order: Ordered) -> Transaction:
        raise Unavailable("mail server", retry_after=timedelta(seconds=50))

    await publish_orders(store, 1, 2)
    with pytest.raises(AssertionError) as raised:
        await run_until_idle(store, Consumer(store, router_for(fail)), timeout=0.5)
    report = str(raised.value)
    assert "not idle within 0.5 s" in report
    assert f"{STREAM} / {GROUP}: lag 0, 2 pending" in report
    assert "held by pod-1" in report
    assert "attempt 1" in report
    assert "pod-1: 2 held, 2 of them waiting for another attempt" in report


async def test_until_idle_notices_a_consumer_that_ended(store: Store) -> None:
    consumer = Consumer(store, router_for(acknowledge))
    async with running(consumer):
        consumer.stop()
        with pytest.raises(AssertionError, match=f"pod-1 of {GROUP} ended before all was done"):
            await until_idle(store, consumer)


async def test_until_idle_counts_for_itself_where_redis_has_lost_count(store: Store) -> None:
    consumer = Consumer(store, router_for(acknowledge))
    await consumer.member.create()
    first, second, _ = await publish_orders(store, 1, 2, 3)
    await store.redis.xdel(STREAM, second)
    await store.redis.xreadgroup(GROUP, "somebody", {STREAM: ">"}, count=1, noack=True)
    [row] = await store.redis.xinfo_groups(STREAM)
    assert row["lag"] is None
    await run_until_idle(store, consumer)
    assert first


async def test_running_raises_what_a_consumer_raises(store: Store) -> None:
    consumer = Consumer(store, router_for(acknowledge))

    async def fail() -> None:
        raise ZeroDivisionError

    consumer.run = fail  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        async with running(consumer):
            await asyncio.sleep(0)


async def test_only_keys_that_live_for_ever_and_are_no_streams_leak(connect: Connect) -> None:
    store = await connect(key_prefix="{shop}:")
    redis = store.redis
    await redis.set("{shop}:brief", "x", px=60_000)
    await redis.xadd("{shop}:stream", {"a": "b"})
    await redis.zadd("{shop}:stream:group:beats", {"pod": 1})
    await redis.hset("{shop}:stock:11", "available", 1)
    await redis.set("{shop}:forgotten", "x")
    await redis.set("astray", "x")
    assert await leaked_keys(store) == ["astray", "{shop}:forgotten", "{shop}:stock:11"]
    assert await leaked_keys(store, ["stock:*", "astray"]) == ["{shop}:forgotten"]
    await redis.flushall()


async def test_thousands_of_leaks_are_found(connect: Connect) -> None:
    store = await connect()
    await store.redis.mset({f"key:{number}": "x" for number in range(3000)})
    assert len(await leaked_keys(store)) == 3000
    await store.redis.flushall()


FIXTURES = """
    import pytest
    from eventcore.testing.fixtures import *

    @pytest.fixture
    def permanent_keys():
        return ("stock:*",)
"""

LEAKING = """
    async def test_leaves_a_key_behind(store):
        await store.redis.set("forgotten", "x")

    async def test_leaves_a_declared_key_behind(store):
        assert await store.redis.keys("*") == []
        await store.redis.set("stock:11", "x")
"""


def test_the_fixtures_serve_others_and_fail_a_test_that_leaks(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(dedent(FIXTURES))
    pytester.makepyfile(dedent(LEAKING))
    kinds = len(chosen_kinds())
    ended = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "asyncio_mode=auto", timeout=50)
    ended.assert_outcomes(passed=2 * kinds, errors=kinds)
    ended.stdout.fnmatch_lines(["*keys without a time to live: forgotten; add TTLs, or declare them permanent*"])


def test_the_kinds_of_servers_are_chosen_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_kinds() == available_kinds()
    monkeypatch.setenv(VARIABLE, "valkey")
    assert chosen_kinds() == ("valkey",)
    monkeypatch.setenv(VARIABLE, "memcached")
    with pytest.raises(pytest.UsageError, match="'memcached' is none of valkey, redis"):
        chosen_kinds()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv(VARIABLE, "valkey, redis")
    with pytest.raises(pytest.UsageError, match="redis is not installed"):
        chosen_kinds()


def test_the_package_itself_needs_no_pytest() -> None:
    code = "import sys, eventcore.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
