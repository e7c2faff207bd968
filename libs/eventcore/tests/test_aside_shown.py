"""What is aside can be seen: in `eventcore status` and `trace`, and in the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest

from eventcore import Consumer, Store, Transaction, Unavailable
from eventcore.operate.inspection import Inspector
from eventcore.operate.inspection.aside import fields_of
from eventcore.operate.reporting import state_shown
from eventcore.server.keys import aside_entries_key, aside_key
from eventcore.telemetry import measurements
from eventcore.testing import Server, running, until
from eventcore.testing.fixtures import Connect

from .samples import GROUP, RETRY_STREAM, STREAM, Ordered, pending, publish_orders, router_for
from .tool import run

ASIDE, ENTRIES = aside_key(STREAM, GROUP), aside_entries_key(STREAM, GROUP)


def refuse(order: Ordered) -> Transaction:
    raise Unavailable("the customer's server", retry_after=timedelta(hours=1))


@asynccontextmanager
async def put_aside(store: Store, *order_ids: str, stays: bool = False) -> AsyncIterator[list[str]]:
    """Orders of one customer, all aside; their entry ids."""
    consumer = Consumer(store, router_for(refuse))
    entry_ids = await publish_orders(store, *order_ids, customer="c-17")

    async def are_aside() -> bool:
        return await store.redis.zcard(ASIDE) == len(order_ids) and await pending(store) == 0

    async with running(consumer):
        await until(are_aside)
        yield entry_ids
    if not stays:
        await store.redis.delete(ASIDE, ENTRIES)


async def test_status_says_how_many_and_what_the_next_is_about(store: Store, redis_server: Server) -> None:
    async with put_aside(store, "1", "2") as (first, _):
        document = (await asyncio.to_thread(run, redis_server, "status", STREAM, "--json")).json
        text = (await asyncio.to_thread(run, redis_server, "status", STREAM)).stdout
    [aside] = [stream["groups"][0]["aside"] for stream in document["streams"]]
    assert aside["count"] == 2
    assert 0 <= aside["oldestAgeSeconds"] < 60
    assert 3500 < aside["next"].pop("dueInSeconds") <= 3600
    error = "Unavailable: the customer's server"
    assert aside["next"] == {"entryId": first, "attempts": 0, "lane": "c-17", "error": error}
    [problem] = [problem for problem in document["problems"] if problem["kind"] == "aside"]
    assert problem["message"].startswith(f"2 deliveries put aside: {first} of lane c-17 failed with {error}, is tried")
    assert "2 deliveries put aside" in text


@pytest.mark.parametrize("trimmed", [False, True], ids=["its entry is there", "its entry is trimmed"])
async def test_trace_says_that_it_waits_and_until_when(trimmed: bool, store: Store, redis_server: Server) -> None:
    async with put_aside(store, "order-1") as (entry_id,):
        if trimmed:
            await store.redis.xtrim(STREAM, maxlen=0, approximate=False)
        document = (await asyncio.to_thread(run, redis_server, "trace", "order-1", "--json")).json
        text = (await asyncio.to_thread(run, redis_server, "trace", "order-1")).stdout
    [event] = document["events"]
    [delivery] = event["deliveries"]
    assert (event["id"], delivery["state"], delivery["group"]) == (entry_id, "aside", GROUP)
    assert 3500 < delivery["dueInSeconds"] <= 3600
    assert "waiting, put aside after attempt 0, the next in 59m" in " ".join(text.split())


async def test_metrics_show_how_many_and_the_age_of_the_oldest(store: Store) -> None:
    async with put_aside(store, "1", "2", "3"):
        state = await Inspector(store.redis).stream(STREAM)
    values = state_shown([state])
    assert values[measurements.aside] == {(STREAM, GROUP): 3}
    assert values[measurements.aside_age][STREAM, GROUP] >= 0


async def test_a_group_with_something_aside_is_not_finished(store: Store) -> None:
    async with put_aside(store, "1"):
        [group] = (await Inspector(store.redis).stream(STREAM)).groups
    assert group.unfinished == 1


async def test_what_is_long_due_and_does_not_come_back_is_a_grave_problem(store: Store, redis_server: Server) -> None:
    async with put_aside(store, "1") as (entry_id,):
        names = await store.redis.zrange(ASIDE, 0, -1)
        packed = await store.redis.hgetall(ENTRIES)
    now, _ = await store.redis.time()
    await store.redis.hset(ENTRIES, mapping=packed)
    await store.redis.zadd(ASIDE, dict.fromkeys(names, (now - 600) * 1000))
    document = (await asyncio.to_thread(run, redis_server, "status", STREAM, "--json")).json
    traced = (await asyncio.to_thread(run, redis_server, "trace", entry_id)).stdout
    [problem] = [problem for problem in document["problems"] if problem["kind"] == "aside"]
    assert "was to be tried again 10m0" in problem["message"]
    assert problem["severity"] == "critical"
    assert "the next due for 10m0" in " ".join(traced.split())
    await store.redis.delete(ASIDE, ENTRIES)


async def test_any_bytes_come_back_as_they_were(connect: Connect) -> None:
    store, name = await connect(aside_after_seconds=0.001), bytes(range(256))
    odd = {b"event": b"{" + name, name: b"x" * 300, b"long": b"y" * 70_000, b"": b""}
    await store.redis.set("orders_dlq", "no place for letters", px=60_000)
    await store.redis.xadd(STREAM, odd)
    async with running(Consumer(store, router_for(refuse))):
        await until(partial(store.redis.zcard, ASIDE))
        [packed] = await store.redis.hvals(ENTRIES)
        await store.redis.delete("orders_dlq")
    fields = fields_of(packed)
    assert {key: fields[key] for key in odd} == odd
    await store.redis.delete(ASIDE, ENTRIES)


async def test_pending_lists_what_is_pending_and_what_is_aside_with_what_is_known_of_each(
    store: Store, redis_server: Server
) -> None:
    async with put_aside(store, "1", "2", stays=True) as (first, second):
        pass
    [held] = await publish_orders(store, 3, customer="c-18")
    back = {"event": "{}", "entryId": "5-0", "attempts": "2", "lane": "c-9", "lastError": "KeyError: 'x'"}
    await store.redis.xadd(RETRY_STREAM, back)
    await store.redis.xreadgroup(GROUP, "pod-7", {STREAM: ">", RETRY_STREAM: ">"})
    document = (await asyncio.to_thread(run, redis_server, "pending", STREAM, "--json")).json
    shown = await asyncio.to_thread(run, redis_server, "pending", STREAM, "-n", "2", "--group", GROUP)
    await store.redis.delete(ASIDE, ENTRIES)
    found = {each["entryId"]: each for each in document["deliveries"]}
    assert list(found) == [held, "5-0", first, second]
    assert all(each.pop("ageSeconds") >= 0 and each.pop("group") == GROUP for each in found.values())
    assert 3500 < found[first].pop("nextInSeconds") <= 3600
    nothing = {"nextInSeconds": None, "consumer": "pod-7", "state": "pending"}
    assert found[held] == {**nothing, "stream": STREAM, "entryId": held, "attempts": 1, "lane": None, "error": None}
    assert found["5-0"] == {
        **nothing, "stream": RETRY_STREAM, "entryId": "5-0", "attempts": 3, "lane": "c-9", "error": "KeyError: 'x'"
    }  # fmt: skip
    error = "Unavailable: the customer's server"
    aside = {"stream": STREAM, "state": "aside", "attempts": 0, "consumer": None, "lane": "c-17", "error": error}
    assert found[first] == {**aside, "entryId": first}
    assert [line.split()[1] for line in shown.lines] == ["ENTRY", held, "5-0"]
    assert "these are the first 2 deliveries" in shown.stderr


async def test_pending_says_when_there_is_nothing_or_no_such_group(store: Store, redis_server: Server) -> None:
    await publish_orders(store, 1)
    nothing = await asyncio.to_thread(run, redis_server, "pending", STREAM)
    assert nothing.stderr == f"nothing of {STREAM} is pending or aside\n"
    unknown = await asyncio.to_thread(run, redis_server, "pending", STREAM, "--group", "nobody", status=1)
    assert f"nobody does not read {STREAM}" in unknown.stderr
