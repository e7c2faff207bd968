"""The state of streams is told as it is, also where the server itself has no figure, or a wrong one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from eventcore import Consumer, Store, Transaction
from eventcore.consume.delivery import entry_time
from eventcore.consume.group_member import FOREIGN_IDLE
from eventcore.operate.inspection import GroupState, Inspector, StreamState, inspector
from eventcore.operate.inspection.ids import age_of, parse_id
from eventcore.operate.inspection.names import main_streams, scan_pattern
from eventcore.server.keys import retry_stream
from eventcore.testing import running, until_idle

from .samples import GROUP, Ordered, publish_orders, router_for

STREAM = "orders_stream"
BEATS = f"{STREAM}:{GROUP}:beats"
RETRIES = retry_stream(STREAM, GROUP)


async def append(redis: Redis, count: int, stream: str = STREAM) -> list[str]:
    """Entries 1-0, 2-0, …"""
    return [await append_at(redis, f"{number}-0", stream) for number in range(1, count + 1)]


async def append_at(redis: Redis, entry_id: str, stream: str = STREAM) -> str:
    await redis.xadd(stream, {"event": "{}"}, id=entry_id)
    return entry_id


async def read(redis: Redis, count: int, consumer: str = "pod-1", stream: str = STREAM) -> None:
    await redis.xreadgroup(GROUP, consumer, {stream: ">"}, count=count)


async def the_servers_own_lag(redis: Redis) -> int | None:
    groups: Any = await redis.xinfo_groups(STREAM)
    lag: int | None = groups[0]["lag"]
    return lag


async def server_now(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def inspect(store: Store, stream: str = STREAM) -> StreamState:
    return await Inspector(store.redis, prefix=store.settings.key_prefix).stream(stream)


async def inspect_group(store: Store) -> GroupState:
    [group] = (await inspect(store)).groups
    return group


async def lag(store: Store) -> int:
    return (await inspect_group(store)).main.lag.entries


async def test_a_stream_that_is_not_there_is_empty(store: Store) -> None:
    state = await inspect(store)
    assert (state.exists, state.length, state.groups, state.memory, state.oldest_age) == (False, 0, (), None, None)
    assert state.dead_letters.length == 0


async def test_a_stream_tells_its_length_its_age_and_its_size(store: Store) -> None:
    now = await server_now(store.redis)
    await append_at(store.redis, f"{now - 60_000}-0")
    await append_at(store.redis, f"{now - 10_000}-0")
    await store.redis.xdel(STREAM, f"{now - 10_000}-0")
    await append_at(store.redis, f"{now - 5_000}-0")

    state = await inspect(store)

    assert (state.exists, state.length, state.entries_added) == (True, 2, 3)
    assert state.last_generated_id == f"{now - 5_000}-0"
    assert state.oldest_age is not None
    assert timedelta(seconds=60) <= state.oldest_age < timedelta(seconds=70)
    assert state.newest_age is not None
    assert timedelta(seconds=5) <= state.newest_age < timedelta(seconds=15)
    assert state.memory is not None
    assert state.memory > 0


async def test_lag_is_what_the_group_has_not_been_given_and_how_old_the_first_of_it_is(store: Store) -> None:
    now = await server_now(store.redis)
    for age in (9_000, 6_000, 3_000):
        await append_at(store.redis, f"{now - age}-0")
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    assert await lag(store) == 3

    await read(store.redis, 1)

    left = (await inspect_group(store)).main.lag
    assert (left.entries, left.capped) == (2, False)
    assert timedelta(seconds=6) <= left.age < timedelta(seconds=9)


async def test_a_group_that_has_been_given_everything_has_no_lag(store: Store) -> None:
    await append(store.redis, 2)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 2)
    assert (await inspect_group(store)).main.lag.entries == 0
    assert (await inspect_group(store)).main.lag.age == timedelta(0)


async def test_lag_is_counted_where_the_server_says_null_after_the_deletion_of_an_unread_entry(store: Store) -> None:
    await append(store.redis, 5)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 1)
    await store.redis.xdel(STREAM, "3-0")
    assert await the_servers_own_lag(store.redis) is None
    assert await lag(store) == 3


async def test_lag_is_counted_where_the_server_says_null_for_a_group_created_at_any_id(store: Store) -> None:
    await append(store.redis, 5)
    await store.redis.xgroup_create(STREAM, GROUP, "2-0")
    assert await the_servers_own_lag(store.redis) is None
    assert await lag(store) == 3


async def test_lag_is_right_where_the_server_counts_a_deleted_entry(store: Store) -> None:
    await append(store.redis, 5)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 2)
    await store.redis.xdel(STREAM, "3-0")
    await read(store.redis, 1)
    assert await lag(store) == 1


async def test_lag_is_right_after_unread_entries_were_trimmed(store: Store) -> None:
    await append(store.redis, 10)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 2)
    await store.redis.xtrim(STREAM, maxlen=3, approximate=False)
    assert await lag(store) == 3

    await read(store.redis, 1)
    assert await lag(store) == 2


async def test_a_group_that_is_ahead_of_its_stream_has_no_lag(store: Store) -> None:
    await append(store.redis, 3)
    await store.redis.xgroup_create(STREAM, GROUP, "99-0")
    assert await lag(store) == 0


async def test_a_group_on_an_emptied_stream_has_no_lag(store: Store) -> None:
    await append(store.redis, 3)
    await store.redis.xgroup_create(STREAM, GROUP, "1-0")
    await store.redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert await lag(store) == 0


async def test_counting_stops_somewhere_and_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector, "COUNTED_LAG", 4)
    monkeypatch.setattr(inspector, "_PAGE", 3)
    await append(store.redis, 10)
    await store.redis.xgroup_create(STREAM, GROUP, "2-0")
    found = (await inspect_group(store)).main.lag
    assert (found.entries, found.capped) == (4, True)
    assert found.age > timedelta(days=1)


async def test_a_group_that_has_read_nothing_of_what_is_left_lags_by_all_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "COUNTED_LAG", 4)
    await append(store.redis, 20)
    await store.redis.xgroup_create(STREAM, GROUP, "5-0")
    await store.redis.xtrim(STREAM, maxlen=10, approximate=False)
    found = (await inspect_group(store)).main.lag
    assert (found.entries, found.capped) == (10, False)


async def test_a_long_lag_is_taken_from_the_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector, "VERIFIED_LAG", 4)
    monkeypatch.setattr(inspector, "COUNTED_LAG", 4)
    await append(store.redis, 10)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 1)
    found = (await inspect_group(store)).main.lag
    assert (found.entries, found.capped) == (9, False)


async def test_the_oldest_pending_entry_says_who_holds_it_since_when_and_at_which_attempt(store: Store) -> None:
    now = await server_now(store.redis)
    first = await append_at(store.redis, f"{now - 60_000}-0")
    await append_at(store.redis, f"{now}-0")
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 2)
    await store.redis.xclaim(STREAM, GROUP, "pod-2", 0, [first], idle=7_000, retrycount=3)

    main = (await inspect_group(store)).main

    assert main.pending == 2
    assert main.oldest_pending is not None
    assert (main.oldest_pending.entry_id, main.oldest_pending.consumer) == (first, "pod-2")
    assert main.oldest_pending.attempts == 3
    assert timedelta(seconds=60) <= main.oldest_pending.age < timedelta(seconds=70)
    assert timedelta(seconds=7) <= main.oldest_pending.idle < timedelta(seconds=17)


async def test_consumers_are_alive_or_dead_by_their_heartbeats(store: Store) -> None:
    await append(store.redis, 2)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 1, "dead")
    await read(store.redis, 1, "left")
    now = await server_now(store.redis)
    await store.redis.zadd(BEATS, {"alive": now, "dead": now - 6_000, "left": 0})

    alive, dead, left = (await inspect_group(store)).consumers

    assert (alive.name, alive.alive, alive.left, alive.holds) == ("alive", True, False, 0)
    assert (dead.name, dead.alive, dead.left, dead.holds) == ("dead", False, False, 1)
    assert dead.silent is not None
    assert timedelta(seconds=6) <= dead.silent < timedelta(seconds=16)
    assert dead.last_beat == entry_time(f"{now - 6_000}-0")
    assert (left.name, left.alive, left.left, left.holds, left.silent) == ("left", False, True, 1, None)


async def test_a_consumer_without_heartbeats_is_alive_while_it_does_something(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(store.redis, 1)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 1, "foreign")
    [consumer] = (await inspect_group(store)).consumers
    assert (consumer.alive, consumer.last_beat, consumer.silent) == (True, None, None)
    assert consumer.idle < FOREIGN_IDLE

    monkeypatch.setattr("eventcore.operate.inspection.consumers.FOREIGN_IDLE", timedelta(0))
    [consumer] = (await inspect_group(store)).consumers
    assert not consumer.alive


async def test_a_consumer_that_never_beats_and_holds_nothing_is_at_rest_and_not_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventcore.operate.inspection.consumers.FOREIGN_IDLE", timedelta(0))
    await append(store.redis, 1)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await store.redis.xgroup_createconsumer(STREAM, GROUP, "by hand")
    [consumer] = (await inspect_group(store)).consumers
    assert (consumer.alive, consumer.resting) == (False, True)
    await read(store.redis, 1, "by hand")
    [consumer] = (await inspect_group(store)).consumers
    assert (consumer.alive, consumer.resting) == (False, False)


async def test_a_heartbeat_far_ahead_of_the_clock_does_not_make_a_consumer_alive(store: Store) -> None:
    await append(store.redis, 1)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await read(store.redis, 1, "dead")
    await store.redis.zadd(BEATS, {"dead": await server_now(store.redis) + 3_600_000})
    [consumer] = (await inspect_group(store)).consumers
    assert (consumer.alive, consumer.silent, consumer.resting) == (False, None, False)


async def test_a_group_shows_its_retry_stream_and_each_consumer_once(store: Store) -> None:
    for stream in (STREAM, RETRIES):
        await append(store.redis, 3, stream)
        await store.redis.xgroup_create(stream, GROUP, "0")
    await read(store.redis, 2, "pod-1")
    await read(store.redis, 1, "pod-1", RETRIES)
    now = await server_now(store.redis)
    await store.redis.zadd(BEATS, {"pod-1": now - 60_000})
    await store.redis.zadd(f"{RETRIES}:{GROUP}:beats", {"pod-1": now})

    group = await inspect_group(store)

    [consumer] = group.consumers
    assert (consumer.alive, consumer.pending, consumer.retry_pending, consumer.holds) == (True, 2, 1, 3)
    assert group.retry is not None
    assert (group.retry.stream, group.retry.pending, group.retry.lag.entries) == (RETRIES, 1, 2)
    assert (group.main.pending, group.main.lag.entries, group.unfinished_retries) == (2, 1, 3)


async def test_a_running_consumer_is_seen_alive_with_nothing_left_to_do(store: Store) -> None:
    await publish_orders(store, 1, 2, 3)

    def handle(_: Ordered) -> Transaction:
        return Transaction()

    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await until_idle(store, consumer)
        group = await inspect_group(store)
    assert [(each.name, each.alive, each.holds) for each in group.consumers] == [("pod-1", True, 0)]
    assert group.retry is not None
    assert (await inspect_group(store)).consumers == ()


async def test_dead_letters_are_counted_by_group(store: Store) -> None:
    await append(store.redis, 1)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    now = await server_now(store.redis)
    await store.redis.xadd("orders_dlq", {"event": "{}", "group": GROUP}, id=f"{now - 9_000}-0")
    await store.redis.xadd("orders_dlq", {"event": "{}", "group": GROUP})
    await store.redis.xadd("orders_dlq", {"event": "{}"})

    state = await inspect(store)

    assert state.groups[0].dead_letters == 2
    assert (state.dead_letters.stream, state.dead_letters.length) == ("orders_dlq", 3)
    assert (state.dead_letters.by_group, state.dead_letters.partial) == ({GROUP: 2, "": 1}, False)
    assert state.dead_letters.oldest_age is not None
    assert timedelta(seconds=9) <= state.dead_letters.oldest_age < timedelta(seconds=19)


async def test_only_the_newest_dead_letters_are_told_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector, "COUNTED_LETTERS", 5)
    monkeypatch.setattr(inspector, "_PAGE", 2)
    for number in range(1, 9):
        await store.redis.xadd("orders_dlq", {"group": "old" if number < 6 else "new"}, id=f"{number}-0")
    letters = (await inspect(store)).dead_letters
    assert (letters.length, letters.by_group, letters.partial) == (8, {"new": 3, "old": 2}, True)


async def test_dead_letters_are_read_again_only_when_there_are_others(store: Store) -> None:
    async def reads() -> int:
        statistics: Any = await store.redis.info("commandstats")
        return int(statistics.get("cmdstat_xrevrange", {}).get("calls", 0))

    watching = Inspector(store.redis)
    await store.redis.xadd("orders_dlq", {"group": GROUP})
    assert (await watching.stream(STREAM)).dead_letters.by_group == {GROUP: 1}
    before = await reads()
    assert (await watching.stream(STREAM)).dead_letters.by_group == {GROUP: 1}
    assert await reads() == before

    await store.redis.xadd("orders_dlq", {"group": "another"})
    assert (await watching.stream(STREAM)).dead_letters.by_group == {GROUP: 1, "another": 1}
    await store.redis.delete("orders_dlq")
    assert (await watching.stream(STREAM)).dead_letters.by_group == {}


async def test_a_group_destroyed_meanwhile_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await append(store.redis, 1)
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await store.redis.xgroup_create(STREAM, "another", "0")
    pending_range: Callable[..., Awaitable[Any]] = store.redis.xpending_range

    async def destroy_first(stream: str, group: Any, *others: Any) -> Any:
        await store.redis.xgroup_destroy(STREAM, GROUP)
        return await pending_range(stream, group, *others)

    monkeypatch.setattr(store.redis, "xpending_range", destroy_first)
    assert [group.name for group in (await inspect(store)).groups] == ["another"]


async def test_streams_are_found_under_their_prefix_only(store: Store) -> None:
    prefix = "a[b]*?:"
    for name in ("orders_stream", "orders_dlq", "orders_stream:g:retry", "gone_dlq", "other", "payments"):
        await append(store.redis, 1, prefix + name)
    await append(store.redis, 1, prefix + "payments:g:retry")
    await append(store.redis, 1, "ab:elsewhere_stream")
    await append(store.redis, 1, "bare_stream")
    await store.redis.set(prefix + "no_stream", "", ex=60)

    found = await Inspector(store.redis, prefix=prefix).streams()

    assert found == ["gone_stream", "orders_stream", "payments"]
    state = await Inspector(store.redis, prefix=prefix).stream("gone_stream")
    assert (state.exists, state.dead_letters.length) == (False, 1)


async def test_without_a_prefix_prefixed_streams_are_found_by_their_whole_names(store: Store) -> None:
    for name in ("{shop}:orders_stream", "{shop}:orders_stream:a:b:retry"):
        await append(store.redis, 1, name)
    assert await Inspector(store.redis).streams() == ["{shop}:orders_stream"]


async def test_entry_ids_that_are_no_times_do_no_harm(store: Store) -> None:
    await append_at(store.redis, "1-18446744073709551615")
    await append_at(store.redis, "18446744073709551615-1")
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    state = await inspect(store)
    assert state.groups[0].main.lag.entries == 2
    assert state.newest_age == timedelta(0)


def test_a_dead_letter_stream_belongs_to_the_stream_that_is_there() -> None:
    assert main_streams(["payments", "payments_dlq"]) == ["payments"]
    assert main_streams(["payments_dlq"]) == ["payments_stream"]
    assert main_streams(["payments", "other"]) == []


def test_a_retry_stream_belongs_to_the_stream_that_is_there_or_was() -> None:
    assert main_streams(["payments", "payments:some-group:retry"]) == ["payments"]
    assert main_streams(["payments_stream:some-group:retry"]) == ["payments_stream"]
    assert main_streams(["payments:some-group:retry"]) == []


def test_a_pattern_matches_its_prefix_literally() -> None:
    assert scan_pattern("{shop}:") == "{shop}:*"
    assert scan_pattern("[a]") == r"\[a\]*"


def test_entry_ids_compare_as_numbers_and_must_be_whole() -> None:
    assert parse_id("9-10") > parse_id("9-9")
    for wrong in ("", "5", "5-", "-5", "a-b", "5-*", "1-1\n", "٣-1"):
        with pytest.raises(ValueError, match="not an entry id"):
            parse_id(wrong)


def test_ages_are_never_negative_and_always_fit() -> None:
    assert age_of("2000-0", 1_000) == timedelta(0)
    assert age_of("0-0", 2**63) == timedelta(days=365_000)
    assert entry_time("18446744073709551615-0") is None
