"""Retention trims what every group has finished with, and nothing else."""

from __future__ import annotations

import time

import pytest

from eventcore import Consumer, Store, StreamFull, Transaction, publish
from eventcore.operate.retention import Retention
from eventcore.server.keys import aside_entries_key, aside_key, retry_stream
from eventcore.testing import run_until_idle, until
from eventcore.testing.fixtures import Connect

from .samples import GROUP, Ordered, noting, publish_orders, router_for

STREAM = Ordered.stream
# Trimming is approximate (whole nodes of 100 entries), so the streams here are longer than that.
MANY = 1000


def long_ago(number: int) -> str:
    """An entry id of ten days ago."""
    return f"{int((time.time() - 10 * 86_400) * 1000)}-{number}"


async def fill(store: Store, count: int = MANY) -> list[str]:
    ids = [long_ago(number) for number in range(1, count + 1)]
    await store.commands.pipeline([("XADD", store.key(STREAM), entry, "event", "{}") for entry in ids])
    return ids


async def read(store: Store, group: str, count: int, *, acknowledge: bool = True, stream: str = STREAM) -> None:
    key = store.key(stream)
    await store.redis.xgroup_create(key, group, id="0")
    [[_, entries]] = await store.commands.execute(
        "XREADGROUP", "GROUP", group, "c", "COUNT", count, "STREAMS", key, ">"
    )
    if acknowledge:
        await store.commands.execute("XACK", key, group, *(entry for entry, _ in entries))


async def length(store: Store) -> int:
    return int(await store.redis.xlen(store.key(STREAM)))


async def test_old_entries_that_all_groups_have_finished_are_trimmed(store: Store) -> None:
    await fill(store)
    await read(store, "g", MANY)
    assert await Retention(store, [STREAM]).trim() >= MANY - 100
    assert await length(store) <= 100


async def test_young_entries_stay(store: Store) -> None:
    await store.publish_all([Ordered(order_id=str(number)) for number in range(MANY)])
    await read(store, "g", MANY)
    assert await Retention(store, [STREAM]).trim() == 0


async def test_finished_entries_beyond_their_number_are_trimmed_however_young(connect: Connect) -> None:
    store = await connect(stream_keep_entries=300)
    await store.publish_all([Ordered(order_id=str(number)) for number in range(MANY)])
    await read(store, "g", MANY)
    await Retention(store, [STREAM]).trim()
    assert 300 <= await length(store) <= 400


async def test_what_one_group_has_not_been_given_stays(store: Store) -> None:
    await fill(store)
    await read(store, "fast", MANY)
    await read(store, "slow", 400)
    await Retention(store, [STREAM]).trim()
    [[_, left]] = await store.commands.execute("XREADGROUP", "GROUP", "slow", "c", "STREAMS", store.key(STREAM), ">")
    assert len(left) == MANY - 400
    assert await length(store) < MANY


async def test_what_is_pending_stays_with_all_that_follows(store: Store) -> None:
    ids = await fill(store)
    await read(store, "fast", MANY)
    await read(store, "stuck", 500, acknowledge=False)
    await store.redis.xack(store.key(STREAM), "stuck", *ids[:250])
    await Retention(store, [STREAM]).trim()
    held = await store.commands.execute("XRANGE", store.key(STREAM), ids[250], ids[499])
    assert len(held) == 250


async def test_a_stream_without_groups_is_left_alone(store: Store) -> None:
    await fill(store)
    assert await Retention(store, [STREAM]).trim() == 0


async def test_a_group_that_holds_up_trimming_is_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await fill(store)
    await read(store, "gone", 1, acknowledge=False)
    retention = Retention(store, [STREAM])
    for _ in range(3):
        await retention.trim()
    assert caplog.text.count("gone has not finished with it since 20") == 1


async def test_a_group_that_reads_on_is_not_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await fill(store)
    await store.redis.xgroup_create(store.key(STREAM), "new", "0")
    retention = Retention(store, [STREAM])
    for _ in range(3):
        await retention.trim()
        await store.redis.xreadgroup("new", "c", {store.key(STREAM): ">"}, count=10)
        [oldest] = await store.redis.xpending_range(store.key(STREAM), "new", "-", "+", 1)
        await store.redis.xack(store.key(STREAM), "new", oldest["message_id"])
    assert caplog.text == ""


async def test_a_group_that_reads_nothing_is_not_said_to_wait_since_1970(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store)
    await store.redis.xgroup_create(store.key(STREAM), "new", "0")
    retention = Retention(store, [STREAM])
    for _ in range(3):
        await retention.trim()
    assert caplog.messages == ["orders_stream can't be trimmed any further: new has not read anything of it yet"]


async def test_a_group_that_holds_up_trimming_at_an_id_without_a_date_is_named_all_the_same(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    retention = Retention(store, [STREAM])
    for _ in range(2):
        await retention._notice(STREAM, "gone", "18446744073709551615-0")
    assert "gone has not finished with it since entry 18446744073709551615-0" in caplog.text


async def test_a_group_that_stopped_for_good_is_dropped_where_the_settings_say_so(connect: Connect) -> None:
    store = await connect(drop_groups_idle_seconds=60.0)
    await fill(store)
    await read(store, "gone", 1, acknowledge=False)
    await store.redis.zadd(store.key(f"{STREAM}:gone:beats"), {"c": (time.time() - 61) * 1000})
    aside, entries = store.key(aside_key(STREAM, "gone")), store.key(aside_entries_key(STREAM, "gone"))
    await store.redis.zadd(aside, {"1-0": 1})
    await store.redis.hset(entries, "1-0", "x")
    await Retention(store, [STREAM]).trim()
    assert await store.redis.xinfo_groups(store.key(STREAM)) == []
    assert not await store.redis.exists(
        store.key(aside_key(STREAM, "gone")), store.key(aside_entries_key(STREAM, "gone"))
    )


async def test_a_group_with_a_recent_heartbeat_is_never_dropped(connect: Connect) -> None:
    store = await connect(drop_groups_idle_seconds=60.0)
    await fill(store)
    await read(store, "slow", 1, acknowledge=False)
    await store.redis.zadd(store.key(f"{STREAM}:slow:beats"), {"c": (time.time() - 50) * 1000})
    await Retention(store, [STREAM]).trim()
    assert len(await store.redis.xinfo_groups(store.key(STREAM))) == 1
    await store.redis.delete(store.key(f"{STREAM}:slow:beats"))


async def test_a_group_whose_last_heartbeat_lies_ahead_of_the_clock_is_dropped_in_time(connect: Connect) -> None:
    store = await connect(drop_groups_idle_seconds=0.2)
    await fill(store)
    await read(store, "gone", 1, acknowledge=False)
    await store.redis.zadd(store.key(f"{STREAM}:gone:beats"), {"c": (time.time() + 3600) * 1000})
    retention = Retention(store, [STREAM])

    async def dropped() -> bool:
        await retention.trim()
        return not await store.redis.xinfo_groups(store.key(STREAM))

    await until(dropped)


async def test_what_was_redriven_and_is_finished_goes_too(connect: Connect) -> None:
    store, redriven = await connect(stream_keep_entries=0), retry_stream(STREAM, "g")
    await store.commands.pipeline([("XADD", redriven, "*", "event", "{}")] * MANY)
    await read(store, "g", MANY, stream=redriven)
    assert await Retention(store, [STREAM], redriven=[redriven]).trim() >= MANY - 100


async def test_old_dead_letters_go(store: Store) -> None:
    dlq = store.key("orders_dlq")
    old = [f"{int((time.time() - 40 * 86_400) * 1000)}-{number}" for number in range(1, MANY + 1)]
    await store.commands.pipeline([("XADD", dlq, entry, "event", "{}") for entry in old])
    await Retention(store, [STREAM]).trim()
    assert await store.redis.xlen(dlq) <= 100


async def test_dead_letters_stay_however_wrong_the_clock_of_a_replica_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    dlq = store.key("orders_dlq")
    await store.commands.pipeline([("XADD", dlq, "*", "event", "{}")] * MANY)
    ahead = time.time() + 40 * 86_400
    monkeypatch.setattr(time, "time", lambda: ahead)
    await Retention(store, [STREAM]).trim()
    assert await store.redis.xlen(dlq) == MANY


async def test_a_clock_that_is_off_is_told_of_once_and_measured(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    retention, real = Retention(store, [STREAM]), time.time
    await retention.trim()
    assert store.clock.skew == pytest.approx(0, abs=2)
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    for _ in range(2):
        await retention.trim()
    [said] = caplog.messages
    assert said.startswith("this machine's clock is 3600 s ahead of the clock of Redis")
    assert store.clock.skew == pytest.approx(3600, abs=2)


async def test_at_the_hard_cap_new_events_are_refused_and_old_ones_stay(connect: Connect) -> None:
    store = await connect(stream_cap=10)
    await store.publish_all([Ordered(order_id=str(number)) for number in range(10)])
    with pytest.raises(StreamFull):
        await store.commit(Transaction(then=[publish(Ordered(order_id="one too many"))]))
    await Retention(store, [STREAM]).trim()
    with pytest.raises(StreamFull):
        await store.publish(Ordered(order_id="one too many"))
    assert await length(store) == 10


async def test_what_is_finished_does_not_fill_a_stream(connect: Connect) -> None:
    store = await connect(stream_cap=MANY)
    await store.publish_all([Ordered(order_id=str(number)) for number in range(MANY)])
    await read(store, "g", MANY)
    await Retention(store, [STREAM]).trim()
    assert MANY / 2 <= await length(store) <= MANY / 2 + 100
    await store.commit(Transaction(then=[publish(Ordered(order_id="welcome"))]))


async def test_room_made_is_noticed(connect: Connect) -> None:
    store = await connect(stream_cap=10)
    await store.publish_all([Ordered(order_id=str(number)) for number in range(10)])
    retention = Retention(store, [STREAM])
    await retention.trim()
    await store.redis.xtrim(store.key(STREAM), maxlen=5, approximate=False)
    await retention.trim()
    assert await store.publish(Ordered(order_id="welcome"))


async def test_what_somebody_else_trims_unread_is_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await publish_orders(store, *range(10))
    await read(store, "g", 3)
    await read(store, "h", 10)
    await store.redis.xtrim(store.key(STREAM), maxlen=2, approximate=False)
    retention = Retention(store, [STREAM])
    for _ in range(2):
        await retention.trim()
    assert caplog.messages == [f"5 entries of {STREAM} were trimmed before g had read them: they are lost"]


async def test_a_consumer_that_starts_after_the_loss_tells_of_it_and_reads_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[str] = []
    for numbers in (range(3), range(3, 5)):
        await publish_orders(store, *numbers)
        await run_until_idle(store, Consumer(store, router_for(noting(handled))))
        await publish_orders(store, "unread", "unread")
        await store.redis.xtrim(store.key(STREAM), maxlen=0, approximate=False)
    assert handled == ["0", "1", "2", "3", "4"]
    told = f"2 entries of {STREAM} were trimmed before {GROUP} had read them: they are lost"
    assert caplog.messages.count(told) == 1
