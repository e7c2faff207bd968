"""Streams and groups in the metrics: right whatever happened to the stream, and shown by one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from eventcore import Event, Settings, Store
from eventcore.operate import reporting
from eventcore.operate.reporting import Reporter
from eventcore.telemetry import Gauges, measurements
from eventcore.testing import until
from eventcore.testing.fixtures import Connect

STREAM, GROUP = "notes_stream", "notes-group"


class NotePut(Event, type="note.put", stream=STREAM):
    text: str


@pytest.fixture
async def reporter(store: Store) -> Reporter:
    """One that knows the stream."""
    return Reporter(store, [STREAM])


async def group(store: Store, name: str = GROUP) -> None:
    await store.redis.xgroup_create(STREAM, name, "0", mkstream=True)


async def fill(store: Store, count: int) -> list[str]:
    """Put some notes; their entry ids."""
    return await store.publish_all([NotePut(text=str(number)) for number in range(count)])


async def read(store: Store, count: int, consumer: str = "pod-1") -> list[bytes]:
    """Let a consumer have some; their entry ids."""
    [[_, entries]] = await store.redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count)
    return [entry_id for entry_id, _ in entries]


async def lag(reporter: Reporter, name: str = GROUP) -> tuple[float, float]:
    """Lag in entries and in seconds, as shown."""
    await reporter.look()
    key = (STREAM, name)
    return reporter.shown(measurements.lag)[key], reporter.shown(measurements.lag_age)[key]


async def test_a_new_group_lags_behind_all_that_there_is(store: Store, reporter: Reporter) -> None:
    await fill(store, 5)
    await group(store)
    entries, seconds = await lag(reporter)
    assert entries == 5
    assert 0 <= seconds < 60


async def test_there_is_no_lag_where_nothing_is_unread(store: Store, reporter: Reporter) -> None:
    await group(store)
    assert await lag(reporter) == (0, 0)
    await fill(store, 3)
    await read(store, 3)
    assert await lag(reporter) == (0, 0)


async def test_lag_is_right_after_deletes_and_trims(store: Store, reporter: Reporter) -> None:
    await group(store)
    ids = await fill(store, 10)
    await read(store, 4)
    await store.redis.xdel(STREAM, ids[6], ids[9])  # the server has no figure any more
    assert (await lag(reporter))[0] == 4
    await store.redis.xtrim(STREAM, minid=ids[8], approximate=False)
    assert (await lag(reporter))[0] == 1
    await store.redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert await lag(reporter) == (0, 0)
    await fill(store, 1)
    assert (await lag(reporter))[0] == 1


async def test_what_is_pending_and_since_when_is_shown(store: Store, reporter: Reporter) -> None:
    await group(store)
    await store.redis.xadd(STREAM, {"event": "{}"}, id="1000-0")
    await fill(store, 2)
    [first, *_] = await read(store, 3)
    await reporter.look()
    key = (STREAM, GROUP)
    assert reporter.shown(measurements.pending)[key] == 3
    assert reporter.shown(measurements.pending_age)[key] > 1e9
    await store.redis.xack(STREAM, GROUP, first)
    await reporter.look()
    assert reporter.shown(measurements.pending)[key] == 2
    assert reporter.shown(measurements.pending_age)[key] < 60


async def test_the_living_and_the_dead_are_counted(connect: Connect) -> None:
    store = await connect(dead_after_seconds=30.0)  # however slow this test is
    reporter = Reporter(store, [STREAM])
    await group(store)
    await fill(store, 2)
    await read(store, 1, "alive")
    await read(store, 1, "dead")
    seconds, _ = await store.redis.time()
    beats = {"alive": seconds * 1000, "dead": (seconds - 60) * 1000}
    await store.redis.zadd(f"{STREAM}:{GROUP}:beats", beats)
    await reporter.look()
    shown = reporter.shown(measurements.consumers)
    assert (shown[STREAM, GROUP, "alive"], shown[STREAM, GROUP, "dead"]) == (1, 1)


async def test_the_dead_that_hold_nothing_are_not_counted(store: Store, reporter: Reporter) -> None:
    await group(store)
    await fill(store, 1)
    await store.redis.xgroup_createconsumer(STREAM, GROUP, "by hand")
    await store.redis.zadd(f"{STREAM}:{GROUP}:beats", {"long dead": 1})
    await reporter.look()
    assert reporter.shown(measurements.consumers)[STREAM, GROUP, "dead"] == 0
    await store.redis.delete(f"{STREAM}:{GROUP}:beats")


async def test_the_stream_itself_and_its_dead_letters_are_shown(store: Store, reporter: Reporter) -> None:
    await fill(store, 7)
    await store.redis.xadd("notes_dlq", {"event": "{}", "group": GROUP})
    await reporter.look()
    assert reporter.shown(measurements.stream_length) == {(STREAM,): 7}
    assert reporter.shown(measurements.stream_memory)[STREAM,] > 100
    assert reporter.shown(measurements.dead_letter_length) == {(STREAM,): 1}


async def test_a_stream_that_is_none_hides_no_other(store: Store) -> None:
    reporter = Reporter(store, [STREAM, "other_stream"])
    await fill(store, 7)
    await store.redis.set("other_stream", "a string")
    await reporter.look()
    assert reporter.shown(measurements.stream_length) == {(STREAM,): 7}
    await store.redis.delete("other_stream")


async def test_redriven_events_are_shown_as_a_stream_of_their_group(store: Store, reporter: Reporter) -> None:
    await group(store)
    retries = f"{STREAM}:{GROUP}:retry"
    await store.redis.xgroup_create(retries, GROUP, "0", mkstream=True)
    await store.redis.xadd(retries, {"event": "{}"})
    await reporter.look()
    assert reporter.shown(measurements.lag) == {(STREAM, GROUP): 0, (retries, GROUP): 1}


async def test_one_of_many_shows_a_stream_and_when_it_goes_the_next_does(store: Store) -> None:
    await group(store)
    first, second = Reporter(store, [STREAM]), Reporter(store, [STREAM])
    await first.look()
    await second.look()
    assert showing(first, second) == [first]

    await first._lease(timedelta(0))  # as it does when it leaves
    await second.look()
    await first.look()
    assert second.shown(measurements.lag)
    assert first.shown(measurements.lag) == {}


async def test_who_dies_is_succeeded_when_its_lease_is_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "LEASE", timedelta(seconds=0.3))
    dead, heir = Reporter(store, [STREAM]), Reporter(store, [STREAM])
    await group(store)
    await dead.look()

    async def inherited() -> bool:
        await heir.look()
        return bool(heir.shown(measurements.lag))

    assert not await inherited() or not dead.shown(measurements.lag)
    await until(inherited, what="the heir")
    assert dead.shown(measurements.lag) == {}, "what it once saw is out of date"


def showing(*reporters: Reporter) -> list[Reporter]:
    return [each for each in reporters if each.shown(measurements.lag)]


async def test_a_producer_reports_for_a_group_whose_consumers_are_all_gone(store: Store) -> None:
    producer = Reporter(store, [])
    await producer.look()
    assert producer.shown(measurements.stream_length) == {}
    await fill(store, 3)
    await group(store)
    assert (await lag(producer))[0] == 3


@asynccontextmanager
async def reporting_on(reporter: Reporter) -> AsyncIterator[None]:
    task = asyncio.create_task(reporter.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def read_all(gauges: Gauges) -> dict[Any, float]:
    return {key: value for key, value in gauges.read().items() if key[0] == STREAM}


async def test_it_reports_until_it_is_cancelled_and_then_lets_go(store: Store, reporter: Reporter) -> None:
    await group(store)
    await fill(store, 2)
    async with reporting_on(reporter):
        await until(lambda: read_all(measurements.lag) == {(STREAM, GROUP): 2}, what="the first look")
    assert read_all(measurements.lag) == {}
    assert await store.redis.exists(f"{STREAM}:reporter") == 0


async def test_nothing_is_shown_while_the_server_is_away(
    start_server: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "REPORT_EVERY", timedelta(seconds=0.05))
    server = start_server()
    async with Store(settings.model_copy(update={"redis_url": server.url}), source="tests") as store:
        await group(store)
        async with reporting_on(Reporter(store, [STREAM])):
            await until(lambda: bool(read_all(measurements.lag)), what="the first look")
            server.kill()
            await until(lambda: not read_all(measurements.lag), what="nothing to be known")
            server.start()
            await group(store)
            await until(lambda: bool(read_all(measurements.lag)), what="another look")
