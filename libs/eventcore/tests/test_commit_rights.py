"""A commit that the server would refuse half-way is refused before its first write, and says why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from eventcore import Append, Forbidden, Hash, SortedSet, Store, StreamFull, String, Transaction, Write, delete, publish
from eventcore.commit.committer import Committed, Duplicate, Work
from eventcore.testing.fixtures import Connect

from .committing import ORIGIN, commit, delivered, picture
from .restricted import grant, restrict, restricted
from .samples import STREAM, Shipped, pending

EVERYTHING = Transaction(
    when=[Hash("a-hash")["x"].absent(), String("a-text").absent(), Hash("a-counter")["left"] >= 1],
    then=[
        Hash("a-hash").set({"x": 1}),
        Hash("a-record").set({"x": 1}),
        Hash("a-hash").expire(timedelta(hours=1)),
        Hash("a-counter")["left"].add(-1),
        String("a-text").set("y", ttl=timedelta(hours=1)),
        SortedSet("a-set").add("new", score=1),
        SortedSet("a-set").remove("old"),
        delete("a-note"),
        publish(Shipped(order_id="1")),
        Append("a_stream", (("a", "b"),), 10),
    ],
)
WRITES = {
    "hset": {"a-hash", "a-record", "a-counter"},
    "pexpire": {"a-hash"},
    "set": {"a-text"},
    "zadd": {"a-set"},
    "zrem": {"a-set"},
    "del": {"a-note"},
    "xadd": {"shipments_stream", "a_stream"},
    "xack": {STREAM},
}
LOOKS = {"hmget", "hlen", "get", "zcard"}
LATEST = "18446744073709551615"


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("a-*", "a_*", "shipments_stream")


@pytest.fixture
async def user(store: Store, connect: Connect) -> AsyncIterator[Store]:
    """A store whose user's rights the test changes."""
    await store.redis.hset("a-counter", "left", 10)
    await store.redis.zadd("a-set", {"old": 1})
    await store.redis.set("a-note", "x")
    async with restricted(store.redis, store.settings) as url:
        yield await connect(redis_url=url)


@pytest.mark.parametrize(
    ("command", "fenced"),
    [
        (command, fenced)
        for command in sorted({*WRITES, *LOOKS})
        for fenced in (True, False)
        if fenced or command != "xack"  # a request acknowledges nothing
    ],
)
async def test_a_command_that_is_forbidden_leaves_everything_as_it_is(
    command: str, fenced: bool, store: Store, user: Store
) -> None:
    [fence] = await delivered(store)
    await restrict(store.redis, f"-{command}")
    before = await picture(store.redis)
    answer = await commit(user, EVERYTHING, fence if fenced else None)
    assert isinstance(answer, Forbidden)
    assert await picture(store.redis) == before
    assert answer.command == command.upper()
    assert answer.key in WRITES.get(command, {answer.key})
    assert str(answer) == f"the Redis user has no permission to run {answer.command} on {answer.key}"

    await grant(store.redis)
    assert isinstance(await commit(user, EVERYTHING, fence if fenced else None), Committed)
    assert await pending(store) == (0 if fenced else 1)


@pytest.mark.parametrize(
    ("command", "key"), [(command, key) for command, keys in WRITES.items() for key in sorted(keys)]
)
async def test_so_does_one_that_is_forbidden_on_one_key(command: str, key: str, store: Store, user: Store) -> None:
    [fence] = await delivered(store)
    others = {STREAM}.union(*WRITES.values()) - {key}
    await restrict(store.redis, f"-{command}", f"(+{command} {' '.join(f'~{other}' for other in sorted(others))})")
    before = await picture(store.redis)
    answer = await commit(user, EVERYTHING, fence)
    assert isinstance(answer, Forbidden)
    assert (answer.command, answer.key) == (command.upper(), key)
    assert await picture(store.redis) == before

    await grant(store.redis)
    assert isinstance(await commit(user, EVERYTHING, fence), Committed)


async def test_what_shares_a_call_with_something_forbidden_is_committed(store: Store, user: Store) -> None:
    fences = await delivered(store, 3)
    await restrict(store.redis, "-zadd")
    allowed = Transaction(then=[Hash("a-counter")["left"].add(-1)])
    forbidden = Transaction(then=[Hash("a-counter")["left"].add(-1), SortedSet("a-set").add("new")])
    wanted = zip([allowed, forbidden, allowed], fences, strict=True)
    answers = await user.committer.commit_all([Work(transaction, ORIGIN, fence) for transaction, fence in wanted])
    assert [type(answer) for answer in answers] == [Committed, Forbidden, Committed]
    assert await store.redis.hget("a-counter", "left") == b"8"
    assert await pending(store) == 1


async def test_what_was_committed_before_is_a_duplicate_whatever_is_forbidden_now(store: Store, user: Store) -> None:
    [fence] = await delivered(store)
    assert isinstance(await commit(user, EVERYTHING, fence), Committed)
    await restrict(store.redis, "-hset")
    assert isinstance(await commit(user, EVERYTHING, fence), Duplicate)


@pytest.mark.parametrize("rule", ["-evalsha", "-script"])
async def test_without_scripts_nothing_is_committed(rule: str, store: Store, user: Store) -> None:
    [fence] = await delivered(store)
    await store.redis.script_flush()
    await restrict(store.redis, rule)
    answer = await commit(user, EVERYTHING, fence)
    assert isinstance(answer, Forbidden)
    assert rule[1:] in str(answer)
    assert await pending(store) == 1


@pytest.mark.parametrize("sequence", [LATEST, str(int(LATEST) - 1)])
@pytest.mark.parametrize("stream", ["a_stream", "shipments_stream"])
@pytest.mark.parametrize("emptied", [True, False], ids=["empty", "not-empty"])
async def test_a_stream_that_is_out_of_ids_takes_nothing_and_nothing_is_half_done(
    sequence: str, stream: str, emptied: bool, store: Store, user: Store
) -> None:
    entry_id = f"{LATEST}-{sequence}"
    [fence] = await delivered(store)
    await store.redis.xadd(stream, {"a": "b"}, id=entry_id)
    if emptied:
        await store.redis.xdel(stream, entry_id)
    before = await picture(store.redis)
    for answer in (await commit(user, EVERYTHING, fence), await commit(user, EVERYTHING)):
        assert isinstance(answer, StreamFull)
        assert str(answer) == f"{stream} is out of entry ids"
    assert await picture(store.redis) == before

    await store.redis.delete(stream)
    assert isinstance(await commit(user, EVERYTHING, fence), Committed)


async def test_an_event_that_is_published_alone_finds_a_stream_out_of_ids_full(store: Store) -> None:
    await store.redis.xadd("shipments_stream", {"a": "b"}, id=f"{LATEST}-{LATEST}")
    with pytest.raises(StreamFull):
        await store.publish(Shipped(order_id="1"))


async def test_a_stream_whose_ids_are_not_used_up_takes_more_however_large_they_are(store: Store) -> None:
    await store.redis.xadd("shipments_stream", {"a": "b"}, id=f"{LATEST}-0")
    ship = Transaction(then=[publish(Shipped(order_id="1"))])
    assert [type(await commit(store, ship)) for _ in range(2)] == [Committed] * 2


async def test_whoever_may_not_ask_for_ids_commits_all_the_same(store: Store, user: Store) -> None:
    await restrict(store.redis, "-xinfo")
    assert isinstance(await commit(user, EVERYTHING), Committed)


@pytest.mark.parametrize("limit", [2**53, 2**63, 10**30])
async def test_a_cap_beyond_what_the_server_counts_is_no_cap(limit: int, store: Store, connect: Connect) -> None:
    unlimited = await connect(stream_cap=limit)
    then: list[Write] = [publish(Shipped(order_id="1")), Append("a_stream", (("a", "b"),), limit)]
    [fence] = await delivered(store)
    assert isinstance(await commit(unlimited, Transaction(then=then), fence), Committed)
    assert (await store.redis.xlen("shipments_stream"), await store.redis.xlen("a_stream")) == (1, 1)


async def test_a_time_to_live_of_millions_of_years_is_one(store: Store) -> None:
    forever: list[Write] = [
        Hash("a-hash")["x"].set(1),
        Hash("a-hash").expire(timedelta.max),
        String("a-text").set("x", ttl=timedelta.max),
    ]
    assert isinstance(await commit(store, Transaction(then=forever)), Committed)
    assert await store.redis.pttl("a-hash") > 10**15


async def test_what_is_too_large_for_the_server_fails_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.commit.compiler.MOST_BYTES", 1000)
    small, large = (Transaction(then=[String("a-text").set("x" * size)]) for size in (10, 1000))
    answers = await store.committer.commit_all([Work(each, ORIGIN) for each in (large, small)])
    assert [type(answer) for answer in answers] == [ValueError, Committed]


async def test_of_a_request_with_one_event_nothing_is_written_where_its_stream_is_out_of_ids(
    store: Store, user: Store
) -> None:
    one_event = Transaction(EVERYTHING.when, [write for write in EVERYTHING.then if not isinstance(write, Append)])
    await store.redis.xadd("shipments_stream", {"a": "b"}, id=f"{LATEST}-{LATEST}")
    before = await picture(store.redis)
    answer = await commit(user, one_event)
    assert isinstance(answer, StreamFull)
    assert str(answer) == "shipments_stream is out of entry ids"
    assert await picture(store.redis) == before

    await store.redis.delete("shipments_stream")
    assert isinstance(await commit(user, one_event), Committed)
