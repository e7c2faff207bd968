"""The commit script: guards, then the fence, then all writes, or none of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from eventcore import (
    Append,
    Hash,
    Origin,
    SortedSet,
    Store,
    String,
    Transaction,
    Write,
    decode,
    delete,
    publish,
)
from eventcore.commit.committer import Committed, Committer, Duplicate, Fence, GuardsFailed, Work
from eventcore.commit.transaction import Guard, SetFields, SetText
from eventcore.server.script import Script

from .committing import ORIGIN, commit, delivered, picture
from .samples import GROUP, STREAM, Ordered, Shipped, pending

THING, NOTE, INDEX = Hash("thing"), String("note"), SortedSet("index")
HOUR = timedelta(hours=1)


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("thing*", "note", "index")


@pytest.fixture
async def held(store: Store) -> Store:
    """A store in which `thing[count]` is 5, `thing[empty]` is empty and `note` is "hello"."""
    await store.redis.hset("thing", mapping={"count": "5", "negative": "-5", "empty": ""})
    await store.redis.set("note", "hello")
    return store


@pytest.mark.parametrize(
    "guard",
    [
        THING["count"] >= 5,
        THING["count"] >= -7,
        THING["negative"] >= -5,
        THING["count"].equals("5"),
        THING["empty"].equals(""),
        THING["missing"].absent(),
        THING["empty"].present(),
        Hash("nothing")["count"].absent(),
        NOTE.equals("hello"),
        NOTE.present(),
        String("nothing").absent(),
    ],
    ids=str,
)
async def test_a_guard_that_holds_lets_the_transaction_through(guard: Guard, held: Store) -> None:
    assert isinstance(await commit(held, Transaction([guard], [INDEX.add("done")])), Committed)
    assert await held.redis.zcard("index") == 1


@pytest.mark.parametrize(
    ("guard", "found"),
    [
        (THING["count"] >= 6, "5"),
        (THING["negative"] >= -4, "-5"),
        (THING["missing"] >= 0, None),
        (THING["count"].equals("5.0"), "5"),
        (THING["missing"].equals(""), None),
        (THING["empty"].absent(), ""),
        (THING["missing"].present(), None),
        (Hash("nothing")["count"].present(), None),
        (NOTE.equals("HELLO"), "hello"),
        (NOTE.absent(), "hello"),
        (String("nothing").present(), None),
        (String("nothing").equals(""), None),
    ],
    ids=str,
)
async def test_a_guard_that_fails_writes_nothing_and_tells_what_it_found(
    guard: Guard, found: str | None, held: Store
) -> None:
    [fence] = await delivered(held)
    before = await picture(held.redis)

    everything: list[Any] = [
        THING["x"].set(1),
        NOTE.set("x"),
        INDEX.add("x"),
        publish(Shipped(order_id="1")),
        delete("z"),
    ]
    answer = await commit(held, Transaction([guard], everything), fence)

    assert isinstance(answer, GuardsFailed)
    assert answer.found == {guard.place: found}
    assert answer.found.failed == (guard,)
    assert await picture(held.redis) == before
    assert await pending(held) == 1


async def test_all_guarded_places_are_told_and_only_those_that_failed_are_blamed(held: Store) -> None:
    other = Hash("thing:other")["count"]
    guards = [NOTE.present(), THING["count"] >= 9, other.absent(), THING["empty"].present(), THING["count"] >= 1]
    answer = await commit(held, Transaction(guards, [INDEX.add("x")]))

    assert isinstance(answer, GuardsFailed)
    assert answer.found == {NOTE: "hello", THING["count"]: "5", other: None, THING["empty"]: ""}
    assert answer.found.failed == (guards[1],)


async def test_bytes_that_are_no_text_are_found_all_the_same(held: Store) -> None:
    await held.redis.set("note", b"\xff")
    answer = await commit(held, Transaction([NOTE.equals("hello")], [INDEX.add("x")]))
    assert isinstance(answer, GuardsFailed)
    assert answer.found[NOTE] == "\N{REPLACEMENT CHARACTER}"


async def test_every_kind_of_write_is_made(held: Store) -> None:
    await held.redis.zadd("index", {"old": 1})
    writes: list[Write] = [
        THING.set({"status": "open", "lines": 2}),
        THING["count"].add(-2),
        THING["fresh"].add(7),
        THING.expire(HOUR),
        NOTE.set("bye"),
        String("note:brief").set("x", ttl=HOUR),
        INDEX.add("new", 2.5),
        INDEX.remove("old"),
        publish(Shipped(order_id="7"), event_id="e-1"),
        Append("log", (("a", "1"), ("b", b"\xff"))),
        delete("thing:gone"),
    ]
    await held.redis.set("thing:gone", "x")
    answer = await commit(held, Transaction(then=writes))

    redis = held.redis
    assert isinstance(answer, Committed)
    fields = await redis.hgetall("thing")
    assert fields == {
        b"count": b"3", b"negative": b"-5", b"empty": b"", b"status": b"open", b"lines": b"2", b"fresh": b"7"
    }  # fmt: skip
    assert 3_500_000 < await redis.pttl("thing") <= 3_600_000
    assert await redis.get("note") == b"bye"
    assert 3_500_000 < await redis.pttl("note:brief") <= 3_600_000
    assert await redis.zrange("index", 0, -1, withscores=True) == [(b"new", 2.5)]
    assert not await redis.exists("thing:gone")
    [(shipped, event)] = await redis.xrange("shipments_stream")
    [(logged, fields)] = await redis.xrange("log")
    assert answer.entry_ids == (shipped.decode(), logged.decode())
    assert decode(event).open(Shipped) == Shipped(order_id="7")
    assert decode(event).metadata.event_id == "e-1"
    assert fields == {b"a": b"1", b"b": b"\xff"}


async def test_published_events_carry_the_origin(store: Store) -> None:
    origin = Origin.new("shop", "4bf92f3577b34da6a3ce929d0e0e4736")
    await store.committer.commit_all([Work(Transaction(then=[publish(Shipped(order_id="7"))]), origin)])
    [(_, fields)] = await store.redis.xrange("shipments_stream")
    metadata = decode(fields).metadata
    assert (metadata.source, metadata.correlation_id) == ("shop", origin.correlation_id)
    assert metadata.traceparent == origin.traceparent


async def test_additions_to_one_field_add_up(held: Store) -> None:
    writes = [THING["count"].add(3), THING["count"].add(-10), THING["count"].add(1)]
    await commit(held, Transaction(when=[THING["count"] >= 5], then=writes))
    assert await held.redis.hget("thing", "count") == b"-1"


async def test_a_delivery_is_acknowledged_with_the_writes(held: Store) -> None:
    [fence] = await delivered(held)
    assert isinstance(await commit(held, Transaction(then=[THING["count"].add(1)]), fence), Committed)
    assert await pending(held) == 0


async def test_a_second_commit_of_one_delivery_writes_nothing(held: Store) -> None:
    [fence] = await delivered(held)
    transaction = Transaction(then=[THING["count"].add(1), publish(Shipped(order_id="7"))])
    await commit(held, transaction, fence)
    before = await picture(held.redis)

    assert await commit(held, transaction, fence) == Duplicate()
    assert await picture(held.redis) == before


async def test_a_second_commit_is_a_duplicate_even_where_its_own_first_run_made_the_guards_fail(held: Store) -> None:
    [fence] = await delivered(held)
    once = Transaction(when=[THING["done"].absent()], then=[THING["done"].set("yes")])
    assert isinstance(await commit(held, once, fence), Committed)
    assert await commit(held, once, fence) == Duplicate()


async def test_of_two_commits_of_one_delivery_that_meet_in_one_pipeline_one_wins(held: Store) -> None:
    [fence] = await delivered(held)
    work = Work(Transaction(then=[THING["count"].add(1)]), ORIGIN, fence)
    answers = await held.committer.commit_all([work, work])
    assert [type(answer) for answer in answers] == [Committed, Duplicate]
    assert await held.redis.hget("thing", "count") == b"6"


@pytest.mark.parametrize("fence", [Fence("no_stream", GROUP, "1-1"), Fence(STREAM, "no-group", "1-1")], ids=str)
async def test_a_delivery_of_a_group_that_is_gone_writes_nothing(fence: Fence, held: Store) -> None:
    await delivered(held)
    before = await picture(held.redis)
    for guards in ([], [NOTE.absent()]):
        assert await commit(held, Transaction(guards, [THING["count"].add(1)]), fence) == Duplicate()
    assert await picture(held.redis) == before


async def test_a_fence_holds_for_its_own_group_only(held: Store) -> None:
    [fence] = await delivered(held)
    await held.redis.xgroup_create(STREAM, "others", id="0")
    await held.redis.xreadgroup("others", "reader", {STREAM: ">"})
    await commit(held, Transaction(then=[THING["count"].add(1)]), fence)
    assert isinstance(
        await commit(held, Transaction(then=[THING["count"].add(1)]), Fence(STREAM, "others", fence.entry_id)),
        Committed,
    )
    assert await held.redis.hget("thing", "count") == b"7"


async def test_values_that_are_no_text_stand_as_redis_writes_them(held: Store) -> None:
    whole: Any = 2**53 + 1
    part: Any = 0.5
    raw: Any = b"\xff\x00"
    fields = {"whole": whole, "part": part, "raw": raw}
    await commit(held, Transaction(then=[SetFields("thing", tuple(fields.items()))]))
    values = await held.redis.hmget("thing", *fields)
    assert values == [b"9007199254740993", b"0.5", raw]


async def test_fields_and_operands_that_are_no_text_are_those_that_redis_knows(held: Store) -> None:
    class Name(str):
        __slots__ = ()

    whole: Any = 1234567890123456789
    five: Any = 5
    writes: list[Write] = [THING[whole].add(1), THING[Name("named")].set(Name("so")), NOTE.set(Name("by name"))]
    guards = [THING["count"].equals(five), THING[Name("count")].equals(Name("5")), THING[whole].absent()]
    assert isinstance(await commit(held, Transaction(guards, writes)), Committed)
    assert await held.redis.hmget("thing", str(whole), "named") == [b"1", b"so"]
    assert await held.redis.get("note") == b"by name"


async def test_nothing_to_put_into_a_hash_is_no_write(held: Store) -> None:
    assert isinstance(await commit(held, Transaction(then=[Hash("note").set({"x": None}), INDEX.add("x")])), Committed)


@pytest.mark.parametrize("value", [None, True, ["x"]], ids=str)
async def test_values_that_redis_could_not_take_are_refused_before_anything_is_written(value: Any, held: Store) -> None:
    before = await picture(held.redis)
    for write in (SetFields("thing", (("x", value),)), SetFields("thing", ((value, "x"),)), SetText(NOTE, value, None)):
        assert isinstance(await commit(held, Transaction(then=[INDEX.add("x"), write])), TypeError)
    assert await picture(held.redis) == before


async def test_plain_acknowledgements_leave_together_beside_commits(held: Store) -> None:
    fences = await delivered(held, 20)
    work = [
        Work(Transaction() if number % 2 else Transaction(then=[THING["count"].add(1)]), ORIGIN, fence)
        for number, fence in enumerate(fences)
    ]
    answers = await held.committer.commit_all(work)
    assert {type(answer) for answer in answers} == {Committed}
    assert await pending(held) == 0
    assert await held.redis.hget("thing", "count") == b"15"


async def test_an_empty_transaction_of_nobody_is_nothing(store: Store) -> None:
    assert await commit(store, Transaction()) == Committed()
    assert await store.committer.commit_all([]) == []
    assert await picture(store.redis) == {}


async def test_a_flushed_script_cache_is_filled_again_and_every_commit_runs_once(held: Store) -> None:
    fences = await delivered(held, 10)
    await commit(held, Transaction(then=[THING["count"].add(0)]))
    await held.redis.script_flush()

    answers = await held.committer.commit_all(
        [Work(Transaction(then=[THING["count"].add(1)]), ORIGIN, fence) for fence in fences]
    )
    assert {type(answer) for answer in answers} == {Committed}
    assert await held.redis.hget("thing", "count") == b"15"


def test_a_script_is_known_by_the_hash_of_its_source_and_flags() -> None:
    strict, lenient = Script.named("commit", allow_oom=False), Script.named("commit", allow_oom=True)
    assert strict.source.startswith("#!lua\n")
    assert lenient.source.startswith("#!lua flags=allow-oom\n")
    assert strict.sha != lenient.sha


async def test_the_key_prefix_stands_before_every_key(store: Store) -> None:
    prefixed = Committer(store.commands, prefix="{shop}:")
    writes: list[Write] = [
        THING["a"].set(1),
        NOTE.set("x"),
        INDEX.add("y"),
        publish(Ordered(order_id="7")),
        Append("log", (("a", "b"),)),
    ]
    guards = [THING["a"].absent(), NOTE.absent()]
    await prefixed.commit_all([Work(Transaction(guards, writes), ORIGIN)])
    names = {"{shop}:thing", "{shop}:note", "{shop}:index", f"{{shop}}:{STREAM}", "{shop}:log"}
    assert {key.decode() for key in await picture(store.redis)} == names
    await store.redis.delete("{shop}:thing", "{shop}:note", "{shop}:index")
