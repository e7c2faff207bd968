"""A replay hands past events to one group once more, and nothing twice that the group has not finished with."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from eventcore import Consumer, Event, Hash, Router, Store, Transaction
from eventcore.consume.delivery import entry_time
from eventcore.operate import replaying
from eventcore.operate.inspection import Inspector
from eventcore.operate.replaying import NoSuchGroup, Replay, Replayed
from eventcore.testing import Server, run_until_idle
from eventcore.testing.fixtures import Connect

from .samples import EAGER, GROUP, RETRY_STREAM, STREAM, Ordered, acknowledge, noting, publish_orders, router_for
from .tool import one_line, run

OTHER = "other-group"
DONE = Hash("done")


class Paid(Event, type="sample.paid", stream=STREAM):
    """It was paid."""

    order_id: str


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("done",)


async def consume(store: Store, router: Router) -> None:
    await run_until_idle(store, Consumer(store, router))


async def replay(store: Store, first: str = "-", last: str = "+", *types: str, **options: Any) -> Replayed:
    inspector = Inspector(store.redis, prefix=store.settings.key_prefix)
    return await Replay(inspector, STREAM, GROUP, **{"cap": 1000, **options}).run(first, last, types)


async def handled(store: Store, *numbers: int) -> list[str]:
    """Events that the group has handled; their entry ids."""
    ids = await publish_orders(store, *numbers)
    await consume(store, router_for(acknowledge))
    return ids


async def retries(store: Store) -> list[str]:
    """What stands in the group's retry stream, by the id at which it first stood."""
    return [fields[b"entryId"].decode() for _, fields in await store.redis.xrange(store.key(RETRY_STREAM))]


async def test_a_handler_that_comes_later_gets_what_it_has_missed_and_no_other_group_does(connect: Connect) -> None:
    store, noted, others = await connect(key_prefix="shop:"), list[object](), list[object]()
    await store.publish_all([Ordered(order_id="1"), Paid(order_id="1"), Paid(order_id="2")])
    await consume(store, router_for(acknowledge))
    router, other = router_for(noting(noted, lambda event: event)), Router(group=OTHER, retry=EAGER)
    router.on(Paid)(noting(noted, lambda event: event))
    other.on(Paid)(noting(others))
    await consume(store, other)
    await consume(store, router)
    assert noted == []

    done = await replay(store, "-", "+", "sample.paid")
    await consume(store, router)
    await consume(store, other)
    assert (done.found, done.handed) == ({"sample.paid": 2}, 2)
    assert noted == [Paid(order_id="1"), Paid(order_id="2")]
    assert others == ["1", "2"]


async def test_a_replayed_event_keeps_its_id_and_trace_byte_for_byte(store: Store) -> None:
    [entry_id] = await handled(store, 1)
    await replay(store)
    [(_, published)] = await store.redis.xrange(STREAM)
    [(_, replayed)] = await store.redis.xrange(RETRY_STREAM)
    assert replayed == {b"event": published[b"event"], b"entryId": entry_id.encode()}


async def test_a_replay_repeated_before_the_first_was_read_adds_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 3)
    ids = await handled(store, *range(10))
    assert (await replay(store, ids[4], ids[7])).handed == 4
    again = await replay(store)
    assert (again.handed, again.waiting) == (6, 4)
    assert (await replay(store)).waiting == 10
    assert sorted(await retries(store)) == sorted(ids)


async def test_a_replay_adds_nothing_that_is_pending_in_the_retry_stream(store: Store) -> None:
    ids = await handled(store, *range(5))
    await replay(store)
    await store.redis.xreadgroup(GROUP, "pod", {RETRY_STREAM: ">"}, count=3)
    rows = await store.redis.xrange(RETRY_STREAM)
    await store.redis.xack(RETRY_STREAM, GROUP, rows[1][0])
    again = await replay(store)
    assert (again.handed, again.waiting) == (1, 4)
    assert (await retries(store))[-1] == ids[1]


async def test_a_replay_adds_nothing_that_is_aside_pending_or_not_given_yet(store: Store) -> None:
    pending, aside, done = await handled(store, 1, 2, 3)
    await publish_orders(store, 4)
    await store.redis.xreadgroup(GROUP, "pod", {STREAM: ">"})
    await store.redis.xack(STREAM, GROUP, (await store.redis.xrevrange(STREAM, count=1))[0][0])
    await store.redis.xgroup_setid(STREAM, GROUP, "0")
    await store.redis.xreadgroup(GROUP, "pod", {STREAM: ">"}, count=3)
    await store.redis.xack(STREAM, GROUP, aside, done)
    await store.redis.hset(f"{STREAM}:{GROUP}:aside:entries", aside, "packed")

    result = await replay(store)
    assert (result.handed, result.waiting) == (1, 2)
    assert await retries(store) == [done]
    assert pending not in await retries(store)
    await store.redis.delete(f"{STREAM}:{GROUP}:aside:entries")


async def test_replays_beside_each_other_hand_each_event_over_once(
    store: Store, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    ids = await handled(store, *range(30))
    stores = [store, *[await connect() for _ in range(3)]]
    results = await asyncio.gather(*(replay(each) for each in stores))
    assert sorted(await retries(store)) == sorted(ids)
    assert sum(each.handed for each in results) == 30
    assert all(each.handed + each.waiting == 30 for each in results)


async def test_what_was_handled_is_handed_over_again_and_the_guard_of_the_handler_holds(store: Store) -> None:
    calls: list[str] = []

    def count_once(order: Ordered) -> Transaction:
        calls.append(order.order_id)
        done = DONE[order.order_id]
        return Transaction(when=[done.absent()], then=[done.add(1)], otherwise=lambda found: [])

    await publish_orders(store, 1)
    for _ in range(3):
        await consume(store, router_for(count_once))
        assert (await replay(store)).handed == 1
    await consume(store, router_for(count_once))
    assert calls == ["1"] * 4
    assert await store.redis.hgetall("done") == {b"1": b"1"}


async def test_a_full_retry_stream_takes_no_more_and_the_replay_says_where_it_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    ids = await handled(store, *range(5))
    for dry in (True, False):
        done = await replay(store, cap=3, dry=dry)
        assert (done.handed, done.full_at) == (2, ids[2])
    assert await retries(store) == ids[:2]


async def test_without_a_group_nothing_is_past(store: Store) -> None:
    await publish_orders(store, 1)
    with pytest.raises(NoSuchGroup, match=f"{GROUP} does not read {STREAM}"):
        await replay(store)


async def tool(server: Server, *arguments: str, status: int = 0, **env: str) -> Any:
    asked = ("replay", STREAM, "--group", GROUP, *arguments)
    return await asyncio.to_thread(run, server, *asked, status=status, env=env)


async def test_the_tool_says_what_it_has_handed_over(store: Store, redis_server: Server) -> None:
    first, second, third = await handled(store, 1, 2, 3)
    head = {"stream": STREAM, "group": GROUP, "types": ["sample.ordered"], "from": second, "to": None}
    asked = ("--from", second, "--type", "sample.ordered")
    told = {"found": {"sample.ordered": 2}, "replayed": 2, "waiting": 0, "fullAt": None}
    dry = await tool(redis_server, *asked, "--dry-run", "--json")
    assert dry.json == {**head, "dryRun": True, **told}
    assert not await store.redis.exists(RETRY_STREAM) or await retries(store) == []
    assert (await tool(redis_server, *asked, "--json")).json == {**head, "dryRun": False, **told}
    assert await retries(store) == [second, third]
    again = await tool(redis_server, "--from", first)
    assert again.lines == [f"1 event replayed, found 3 sample.ordered, 2 still wait for {GROUP}"]
    assert (await tool(redis_server, "--from", first, "--type", "other")).lines == ["0 events replayed, found no event"]


async def test_the_tool_takes_times_and_both_belong_to_the_range(store: Store, redis_server: Server) -> None:
    ids = await handled(store, 1)
    at = entry_time(ids[0])
    assert isinstance(at, datetime)
    bounds = ("--from", at.isoformat(), "--to", at.isoformat())
    assert (await tool(redis_server, *bounds)).lines == ["1 event replayed, found 1 sample.ordered"]


async def test_the_tool_fails_at_the_hard_cap_and_says_where_to_go_on(store: Store, redis_server: Server) -> None:
    ids = await handled(store, 1, 2)
    failed = await tool(redis_server, "--from", "0-0", status=1, STREAM_CAP="1")
    assert one_line(failed.stderr).endswith(f"go on with --from {ids[0]}")
    assert await retries(store) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--from", "0-0"], 1, "does not read"),
        (["--from", "2026-12-01T04:00:00"], 2, "no time zone"),
        (["--from", "yesterday"], 2, "neither an entry id"),
        (["--from", "0-0", "--to", "$"], 2, "neither an entry id"),
        ([], 2, "--from"),
    ],
)
async def test_what_can_not_be_replayed_is_refused(
    arguments: list[str], status: int, said: str, store: Store, redis_server: Server
) -> None:
    await publish_orders(store, 1)
    assert said in (await tool(redis_server, *arguments, status=status)).stderr
