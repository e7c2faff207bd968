"""No entry id and no metadata stops anybody: no consumer, no retention, no metric, no tool."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, timedelta
from typing import Any, Never

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from rich.console import Console

from eventcore import Consumer, Router, Settings, Store, Undecodable, decode
from eventcore.cli.tail import line
from eventcore.cli.trace import as_document
from eventcore.cli.trace_view import timeline
from eventcore.consume.deciding import Decided, Decider
from eventcore.consume.delivery import Delivery, LetterReason
from eventcore.consume.in_flight import Holding
from eventcore.consume.letter import letter
from eventcore.operate.entries import StreamEntry
from eventcore.operate.following import TraceStep
from eventcore.operate.inspection import Inspector
from eventcore.operate.reporting import Reporter, state_shown
from eventcore.operate.retention import Retention
from eventcore.testing import Server, run_until_idle, running, until
from eventcore.testing.fixtures import Connect

from .samples import DEAD_LETTERS, EAGER, GROUP, STREAM, Ordered, pending, router_for
from .test_consumer_failures import letters
from .tool import client, run

LAST = 2**64 - 1
# Microseconds for milliseconds, the ends of what dates, floats and signed integers hold, and of what ids do.
MICROSECONDS, LAST_DAY = 1_796_000_000_000_000, 253_402_300_799_999
TIMES = [0, 1, LAST_DAY, LAST_DAY + 1, MICROSECONDS, 2**53, 2**53 + 1, 2**63 - 1, 2**63, LAST]
IDS = [f"{time}-{number}" for time in TIMES for number in (1, LAST)]
numbers = st.sampled_from(TIMES) | st.integers(0, LAST)
entry_ids = st.tuples(numbers, numbers).filter(any).map(lambda parts: f"{parts[0]}-{parts[1]}")


def event(**metadata: Any) -> bytes:
    """An order as it stands in an entry, with this metadata beside the least that is needed."""
    least = {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z"}
    content = {"type": Ordered.type, "data": {"orderId": "o-1"}, "metadata": {**least, **metadata}}
    return json.dumps(content).encode()


def fail(order: Ordered) -> Never:
    raise ValueError("no luck")


@pytest.mark.parametrize("body", [b"{}", event()], ids=["no event", "an event"])
@pytest.mark.parametrize("entry_id", IDS)
async def test_any_entry_id_comes_to_a_letter(entry_id: str, body: bytes, store: Store) -> None:
    await store.redis.xadd(store.key(STREAM), {"event": body}, id=entry_id)
    await run_until_idle(store, Consumer(store, router_for(fail)))
    assert [each["entryId"] for each in await letters(store)] == [entry_id]
    assert await pending(store) == 0


@pytest.mark.parametrize("entry_id", [IDS[0], f"{MICROSECONDS}-1", IDS[-1]])
async def test_any_entry_id_is_taken_over(entry_id: str, connect: Connect) -> None:
    store = await connect(pod_name="pod-2", dead_after_seconds=0.5, heartbeat_seconds=0.2)
    key = store.key(STREAM)
    await store.redis.xadd(key, {"event": event()}, id=entry_id)
    await store.redis.xgroup_create(key, GROUP, "0")
    await store.redis.xreadgroup(GROUP, "pod-1", {key: ">"})
    await store.redis.zadd(store.key(f"{STREAM}:{GROUP}:beats"), {"pod-1": 1})
    async with running(Consumer(store, router_for(fail))):
        await until(lambda: letters(store))


@pytest.mark.parametrize("entry_id", [IDS[0], f"{MICROSECONDS}-1", IDS[-1]])
async def test_any_entry_id_is_resumed(entry_id: str, store: Store) -> None:
    """Of a consumer that comes back under its name."""
    key = store.key(STREAM)
    await store.redis.xadd(key, {"event": event()}, id=entry_id)
    await store.redis.xgroup_create(key, GROUP, "0")
    await store.redis.xreadgroup(GROUP, store.settings.pod_name, {key: ">"})
    async with running(Consumer(store, router_for(fail))):
        await until(lambda: letters(store))


@pytest.mark.parametrize("ids", [IDS[:2], IDS[2:6], IDS[-4:], IDS])
async def test_metrics_retention_and_the_tool_take_any_entry_id(ids: list[str], store: Store) -> None:
    key = store.key(STREAM)
    for entry_id in ids:
        await store.redis.xadd(key, {"event": event()}, id=entry_id)
        await store.redis.xadd(
            store.key(DEAD_LETTERS), {"event": event(), "group": GROUP, "entryId": entry_id}, id=entry_id
        )
    await store.redis.xgroup_create(key, GROUP, "0")
    await store.redis.xreadgroup(GROUP, "pod-1", {key: ">"}, count=max(1, len(ids) // 2))
    await Retention(store, [STREAM]).trim()
    state = await Inspector(store.redis, prefix=store.settings.key_prefix).stream(STREAM)
    assert all(seconds >= 0 for each in state_shown([state]).values() for seconds in each.values())
    await Reporter(store, [STREAM]).look()


def test_the_tool_shows_any_entry_id(redis_server: Server) -> None:
    with client(redis_server) as connected:
        for entry_id in IDS:
            connected.xadd(STREAM, {"event": event(correlationId="4bf92f3577b34da6a3ce929d0e0e4736")}, id=entry_id)
            connected.xadd(DEAD_LETTERS, {"event": event(), "group": GROUP, "entryId": entry_id}, id=entry_id)
        connected.xgroup_create(STREAM, GROUP, "0")
        connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, count=len(IDS) // 2)
    for arguments in (["status"], ["tail", STREAM, "-n", "100"], ["dlq", "list", STREAM], ["dlq", "show", STREAM]):
        for extra in ([], ["--json"]):
            run(redis_server, *arguments, *extra)
    for wanted in ("4bf92f3577b34da6a3ce929d0e0e4736", *IDS):
        for extra in ([], ["--json"]):
            run(redis_server, "trace", wanted, *extra)
    run(redis_server, "dlq", "redrive", STREAM, "--id", IDS[-1])
    run(redis_server, "dlq", "purge", STREAM, "--all", "--yes")


async def test_a_page_that_ends_at_the_last_id_of_all_is_the_last_page(store: Store, monkeypatch: Any) -> None:
    monkeypatch.setattr("eventcore.operate.inspection.inspector._PAGE", 2)
    key = store.key(STREAM)
    for entry_id in (f"{LAST}-{LAST - 1}", f"{LAST}-{LAST}"):
        await store.redis.xadd(key, {"event": event()}, id=entry_id)
    await store.redis.xgroup_create(key, GROUP, "0")
    state = await Inspector(store.redis, prefix=store.settings.key_prefix).stream(STREAM)
    assert state.groups[0].main.lag.entries == 2


@pytest.mark.parametrize("time", [2**53, 2**63, LAST - 1])
async def test_retention_keeps_what_is_pending_also_where_numbers_are_not_exact(time: int, connect: Connect) -> None:
    """In Lua, 2**53 and 2**53 + 1 are the same number: by the second half of its id, the pending one is the later."""
    store = await connect(stream_keep_entries=0, stream_keep_seconds=0.0)
    key = store.key(STREAM)
    ids = [*(f"{time}-{number}" for number in range(1, 400)), *(f"{time + 1}-{number}" for number in range(1, 6))]
    await store.commands.pipeline([("XADD", key, entry_id, "event", "{}") for entry_id in ids])
    await store.redis.xgroup_create(key, GROUP, "0")
    await store.redis.xreadgroup(GROUP, "pod-1", {key: ">"})
    await store.commands.execute("XACK", key, GROUP, *ids[:398], *ids[399:])
    for _ in range(3):
        await Retention(store, [STREAM]).trim()
    assert await store.redis.xrange(key, ids[398], ids[398])


@given(st.text() | st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "2026-11-23"]))
def test_a_time_that_is_read_has_a_date_in_utc(time: str) -> None:
    with suppress(Undecodable):
        decode({b"event": event(timestamp=time)}).metadata.timestamp.astimezone(UTC)


values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(max_size=2), max_size=2)
TIMESTAMPS = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-11-23",
    "2026-W48-1",
    "20261123T100000",
    "2026-11-23T10:00:00.000Z",
    "",
    "1e9",
]
texts = st.text() | st.sampled_from(
    ["", "0" * 32, "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "\x00", "\ud800", "a=b,c=d"]
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "eventId": texts | values,
        "timestamp": st.sampled_from(TIMESTAMPS) | texts | st.datetimes().map(str) | values,
        "version": st.sampled_from(["1.0", "1.1", "0.9", "2.0", "1", "9" * 5000 + ".0"]) | texts | values,
        "correlationId": texts | values,
        "causationId": texts | values,
        "source": texts | values,
        "traceparent": texts | values,
        "tracestate": texts | values,
        "baggage": texts | values,
    },
)
BODIES = (
    metadata.map(lambda chosen: event(**chosen))
    | st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "replace"))
)


def decider(handler: Any = fail) -> Decider:
    router = Router(group=GROUP, retry=EAGER)
    router.on(Ordered)(handler)
    return Decider(
        router,
        consumer="pod-1",
        source="tests",
        dead_letter_cap=10,
        rollout=timedelta(0),
        holding=Holding(GROUP, limit=1, waiting_limit=1),
        concurrency=1,
    )


@given(entry_ids, BODIES)
def test_whatever_stands_in_an_entry_is_retried_or_becomes_a_letter(entry_id: str, body: bytes) -> None:
    deciding = decider()
    for attempt in range(1, 4):
        delivery = Delivery(STREAM, entry_id, attempt, {b"event": body}, 0.0)
        decision = deciding.decide(delivery)
        if isinstance(decision, Decided):
            assert decision.outcome in ("dead_lettered", "ignored")
            return
    raise AssertionError(f"neither after three attempts: {deciding.holding.waiters()}")


@given(entry_ids, BODIES)
def test_the_tool_shows_whatever_stands_in_an_entry(entry_id: str, body: bytes) -> None:
    entry = StreamEntry(STREAM, entry_id, {b"event": body})
    json.dumps(entry.as_json())
    json.dumps(as_document(TraceStep(entry)))
    console = Console(width=120, quiet=True)
    for width in (80, 200):
        console.print(line(entry, width))
    console.print(timeline([TraceStep(entry), TraceStep(entry)]))


@given(entry_ids, BODIES, st.integers(1, 2**31))
def test_a_letter_can_be_written_of_any_delivery(entry_id: str, body: bytes, attempt: int) -> None:
    delivery = Delivery(STREAM, entry_id, attempt, {b"event": body}, 0.0)
    written = letter(delivery, ValueError("x"), LetterReason.REJECTED, GROUP, "pod-1", 10)
    assert dict(written.fields)["entryId"] == entry_id.encode()


@limits(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BODIES, min_size=1, max_size=8))
def test_services_read_on_over_any_metadata(any_server: Server, written: list[bytes]) -> None:
    async def consume() -> None:
        async with Store(Settings(redis_url=any_server.url), source="tests") as store:
            await store.redis.flushall()
            for body in written:
                await store.redis.xadd(STREAM, {"event": body})
            await run_until_idle(store, Consumer(store, router_for(fail)))
            assert await pending(store) == 0

    asyncio.run(consume())


@pytest.mark.parametrize(
    "fields",
    [
        {"event": b"x" * 20_000_000},
        {"event": b'{"type": "sample.ordered"' + b" " * 20_000_000},
        {"other": b"\x01" * 20_000_000},
        {f"field {number}": b"x" for number in range(100_000)},
    ],
    ids=["an event", "a type", "another field", "many fields"],
)
async def test_of_an_entry_that_is_far_too_large_a_letter_has_the_beginning(
    fields: dict[str, bytes], store: Store
) -> None:
    """All of it would take several times as much memory, here and in the server, and hold up everybody."""
    entry_id = await store.redis.execute_command(
        "XADD", store.key(STREAM), "*", *(x for each in fields.items() for x in each)
    )
    await run_until_idle(store, Consumer(store, router_for(fail)), timeout=40)
    [each] = await letters(store)
    assert (each["reason"], each["entryId"]) == ("undecodable", entry_id.decode())
    assert int(each["bytes"]) == sum(len(name) + len(value) for name, value in fields.items())
    assert "event" not in each
    assert len(each["fields"]) < 500_000
