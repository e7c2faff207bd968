"""A commit that can not be made whole is not made at all: everything stays untouched and unacknowledged."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from eventcore import (
    Append,
    Conflict,
    Event,
    Hash,
    Origin,
    SortedSet,
    Store,
    String,
    Transaction,
    Unavailable,
    Write,
    delete,
    publish,
)
from eventcore.commit.committer import Committed, GuardsFailed, Work
from eventcore.commit.transaction import AddMember, Guard, SetFields, SetText
from eventcore.errors import Forbidden, StreamFull
from eventcore.testing.fixtures import Connect

from .committing import ORIGIN, commit, delivered, picture
from .samples import STREAM, Shipped, pending

GOOD = Hash("good")["count"].add(1)
LARGEST = 2**53 - 1


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("a-*", "good", "shipments_stream")


@pytest.fixture
async def mixed(store: Store) -> Store:
    """A store with a key of each type, and one where `Shipped` wants its stream."""
    redis = store.redis
    await redis.hset("a-hash", mapping={"count": "5", "text": "five", "float": "5.5"})
    await redis.set("a-string", "hello")
    await redis.zadd("a-set", {"x": 1})
    await redis.xadd("a_stream", {"a": "b"})
    await redis.set("shipments_stream", "not a stream")
    return store


async def stays_untouched(store: Store, when: Sequence[Guard], then: Sequence[Write]) -> Exception:
    """Commit a delivery with this transaction, see that nothing has changed, and give back the error."""
    [fence] = await delivered(store)
    before = await picture(store.redis)
    answer = await commit(store, Transaction(when, then), fence)
    assert await picture(store.redis) == before
    assert await pending(store) == 1
    assert isinstance(answer, Exception)
    return answer


@pytest.mark.parametrize(
    "write",
    [
        Hash("a-string")["x"].set(1),
        Hash("a-set")["x"].add(1),
        Hash("a_stream")["x"].set(1),
        String("a-hash").set("x"),
        String("a-set").set("x", ttl=timedelta(hours=1)),
        SortedSet("a-string").add("x"),
        SortedSet("a-hash").remove("x"),
        publish(Shipped(order_id="7")),
        Append("a-hash", (("a", "b"),)),
    ],
    ids=str,
)
async def test_a_write_to_a_key_of_another_type_is_a_conflict(write: Write, mixed: Store) -> None:
    assert isinstance(await stays_untouched(mixed, [], [GOOD, write, delete("a-hash")]), Conflict)


@pytest.mark.parametrize(
    "guard",
    [
        Hash("a-string")["x"].absent(),
        Hash("a-set")["x"] >= 1,
        String("a-hash").absent(),
        String("a_stream").equals("x"),
    ],
    ids=str,
)
async def test_a_guard_on_a_key_of_another_type_is_a_conflict(guard: Guard, mixed: Store) -> None:
    assert isinstance(await stays_untouched(mixed, [guard], [GOOD]), Conflict)


@pytest.mark.parametrize(
    "value", ["", "five", "5.5", "5 ", " 5", "+5", "0x5", "1e3", "--5", "5\n", "nan", "-", "\N{FULLWIDTH DIGIT FIVE}"]
)
async def test_what_is_no_integer_can_be_neither_added_to_nor_compared(value: str, store: Store) -> None:
    await store.redis.hset("a-hash", "count", value)
    count = Hash("a-hash")["count"]
    for transaction in (Transaction(then=[GOOD, count.add(1)]), Transaction(when=[count >= 0], then=[GOOD])):
        answer = await commit(store, transaction)
        assert isinstance(answer, Conflict)
        assert "a-hash[count] holds" in str(answer)
    assert not await store.redis.exists("good")


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (LARGEST, 1),
        (-LARGEST, -1),
        (LARGEST + 1, 0),
        (LARGEST + 2, -1),
        (-LARGEST - 1, 1),
        (10**30, -1),
        (0, LARGEST + 1),
        (-LARGEST, 2**54),
        (-LARGEST, 2**53 + 2**52 + 1),
        (5, -(10**30)),
    ],
)
async def test_a_counter_never_leaves_the_range_in_which_integers_are_exact(
    value: int, amount: int, store: Store
) -> None:
    await store.redis.hset("a-hash", "count", value)
    answer = await stays_untouched(store, [], [GOOD, Hash("a-hash")["count"].add(amount)])
    assert isinstance(answer, Conflict)


@pytest.mark.parametrize(("value", "amount"), [(LARGEST - 1, 1), (1 - LARGEST, -1), (-LARGEST, LARGEST), (LARGEST, 0)])
async def test_up_to_the_end_of_that_range_counters_are_exact(value: int, amount: int, store: Store) -> None:
    await store.redis.hset("a-hash", "count", value)
    assert isinstance(await commit(store, Transaction(then=[Hash("a-hash")["count"].add(amount)])), Committed)
    assert await store.redis.hget("a-hash", "count") == str(value + amount).encode()


@pytest.mark.parametrize(
    "writes",
    [
        [Hash("k")["a"].set(1), SortedSet("k").add("x")],
        [String("k").set("x"), Hash("k")["a"].add(1)],
        [SortedSet("k").add("x"), String("k").set("x")],
        [Append("k", (("a", "b"),)), SortedSet("k").add("x")],
        [publish(Shipped(order_id="7")), String("shipments_stream").set("x")],
    ],
    ids=str,
)
async def test_one_key_can_not_hold_two_kinds_of_things(writes: list[Write], store: Store) -> None:
    error = await stays_untouched(store, [], [GOOD, *writes])
    assert isinstance(error, TypeError)
    assert "in one transaction" in str(error)


@pytest.mark.parametrize(
    "writes",
    [
        [delete("a-hash"), Hash("a-hash")["count"].set(1)],
        [Hash("a-hash")["count"].add(1), delete("a-hash")],
        [Hash("a-hash")["count"].set(1), Hash("a-hash")["count"].add(1)],
    ],
    ids=str,
)
async def test_writes_whose_order_would_matter_but_is_not_kept_are_refused(writes: list[Write], mixed: Store) -> None:
    assert isinstance(await stays_untouched(mixed, [], writes), TypeError)


@pytest.mark.parametrize(
    "write",
    [
        AddMember("a-set", "x", math.nan),
        Append("a_stream", ()),
        Append("a_stream", (("a", "b"),), max_length=-1),
        Append("a_stream", (("a", "b"),), max_length=math.nan),  # type: ignore[arg-type]
        Append("a_stream", (("a", "b"),), max_length=math.inf),  # type: ignore[arg-type]
        Append("a_stream", tuple((str(n), "x") for n in range(5000))),
        SetText(String("a-string"), None, None),  # type: ignore[arg-type]
        SetFields("a-hash", (("count", "\ud800"),)),
        "not a write",
    ],
    ids=str,
)
async def test_a_write_that_the_server_would_refuse_half_way_is_refused_before(write: Write, mixed: Store) -> None:
    assert isinstance(await stays_untouched(mixed, [], [GOOD, write]), TypeError | ValueError)


async def test_something_that_is_no_guard_is_refused(store: Store) -> None:
    guards: list[Any] = [False]  # as from `==`, which fields don't have
    answer = await stays_untouched(store, guards, [GOOD])
    assert isinstance(answer, AttributeError | TypeError)


async def test_a_neighbour_that_can_not_be_sent_does_no_harm(store: Store) -> None:
    class Odd(Event, type="sample.odd", stream="odd_stream"):
        value: object

    place = Hash("a-hash")
    odd: list[Write] = [publish(Odd(value=object())), place["x"].set("\ud800"), place["\ud800"].add(1)]
    writes = [GOOD, *odd, GOOD]
    fences = await delivered(store, len(writes))
    work = [Work(Transaction(then=[write]), ORIGIN, fence) for write, fence in zip(writes, fences, strict=True)]
    first, *others, last = await store.committer.commit_all(work)

    assert first == last == Committed()
    assert all(isinstance(answer, ValueError) for answer in others)
    assert await store.redis.hget("good", "count") == b"2"
    assert await pending(store) == len(odd)


async def test_what_a_neighbour_made_of_a_key_is_seen(store: Store) -> None:
    ship = Transaction(then=[publish(Shipped(order_id="7"))])
    no_room = Transaction(when=[Hash("good")["x"].present()], then=ship.then)  # looks at the stream, and leaves it
    hash_instead = Transaction(then=[Hash("shipments_stream")["x"].set("y")])
    answers = await store.committer.commit_all([Work(each, ORIGIN) for each in (no_room, hash_instead, ship)])
    assert [type(answer) for answer in answers] == [GuardsFailed, Committed, Conflict]


async def test_a_guard_that_can_not_be_sent_does_no_harm_to_neighbours(store: Store) -> None:
    when: Any = datetime(2026, 11, 26, tzinfo=UTC)
    odd = Transaction(when=[Hash("a-hash")["x"].equals(when)], then=[GOOD])
    good = Transaction(then=[GOOD])
    answers = await store.committer.commit_all([Work(each, ORIGIN) for each in (good, odd, good)])
    assert [type(answer) for answer in answers] == [Committed, TypeError, Committed]
    assert await store.redis.hget("good", "count") == b"2"


@pytest.fixture
async def limited(store: Store, connect: Connect) -> AsyncIterator[Store]:
    """A store whose user may touch some keys only, and not look into what is pending or there."""
    rights = ["+@all", "-xpending", "-exists", "~good", "~a-hash", f"~{STREAM}*"]
    await store.redis.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rights)
    yield await connect(redis_url=SecretStr(store.settings.url.replace("//", "//limited:secret@")))
    await store.redis.execute_command("ACL", "DELUSER", "limited")


async def test_a_key_that_is_forbidden_is_forbidden_to_those_alone_who_name_it(store: Store, limited: Store) -> None:
    fences = await delivered(store, 3)
    forbidden = Transaction(then=[GOOD, Hash("other")["x"].set(1)])
    allowed = Transaction(then=[GOOD])
    wanted = zip([allowed, forbidden, allowed], fences, strict=True)
    work = [Work(transaction, ORIGIN, fence) for transaction, fence in wanted]
    answers = await limited.committer.commit_all(work)
    assert [type(answer) for answer in answers] == [Committed, Forbidden, Committed]
    assert str(answers[1]) == "the Redis user has no permission to read and write other"
    assert await store.redis.hget("good", "count") == b"2"
    assert await pending(store) == 1


async def test_a_forbidden_key_of_what_can_not_be_compiled_hurts_nobody(store: Store, limited: Store) -> None:
    bad = Transaction([Hash("other")["\ud800"].absent()], [SortedSet("other").add("x")])
    answers = await limited.committer.commit_all([Work(each, ORIGIN) for each in (bad, Transaction(then=[GOOD]))])
    assert [type(answer) for answer in answers] == [UnicodeEncodeError, Committed]


async def test_whoever_may_not_ask_what_is_there_commits_all_the_same(store: Store, limited: Store) -> None:
    for key in ("good", "a-hash"):
        once = [Transaction(when=[Hash(each)["x"].absent()], then=[GOOD]) for each in (key, "good")]
        answers = await limited.committer.commit_all([Work(each, ORIGIN) for each in once])
        assert [type(answer) for answer in answers] == [Committed, Committed]


async def test_whoever_may_not_look_what_is_pending_does_not_take_it_for_done(store: Store, limited: Store) -> None:
    [fence] = await delivered(store)
    failing = Transaction(when=[Hash("a-hash")["x"].present()], then=[GOOD])
    assert isinstance(await commit(limited, failing, fence), Forbidden)
    assert await pending(store) == 1


async def test_a_full_stream_takes_nothing_more_and_nothing_is_half_done(store: Store) -> None:
    store.committer._cap = 2
    [fence] = await delivered(store)
    ship = Transaction(then=[GOOD, publish(Shipped(order_id="7"))])
    for _ in range(2):
        assert isinstance(await commit(store, ship), Committed)
    before = await picture(store.redis)

    for refused in (await commit(store, ship), await commit(store, ship, fence)):
        assert isinstance(refused, StreamFull)
        assert "shipments_stream is at its hard cap" in str(refused)
    assert await picture(store.redis) == before


async def test_of_those_that_share_a_call_no_more_pass_than_there_is_room_for(store: Store) -> None:
    store.committer._cap = 2
    work = [Work(Transaction(then=[publish(Shipped(order_id=str(n)))]), ORIGIN) for n in range(5)]
    answers = await store.committer.commit_all(work)
    assert [type(answer) for answer in answers] == [Committed] * 2 + [StreamFull] * 3
    assert await store.redis.xlen("shipments_stream") == 2


async def test_what_was_trimmed_makes_room_within_a_call(store: Store) -> None:
    store.committer._cap = 3
    note = Transaction(then=[Append("shipments_stream", (("a", "b"),), max_length=0)])
    ship = Transaction(then=[publish(Shipped(order_id="7"))])
    answers = await store.committer.commit_all([Work(each, ORIGIN) for each in [note] * 200 + [ship]])
    assert {type(answer) for answer in answers} == {Committed}


async def test_a_stream_at_its_cap_still_takes_what_is_no_event(store: Store) -> None:
    store.committer._cap = 1
    letter = Transaction(then=[Append("a_stream", (("a", "b"),))])
    for _ in range(3):
        assert isinstance(await commit(store, letter), Committed)


async def test_an_append_keeps_about_as_many_entries_as_it_says(store: Store) -> None:
    work = [Work(Transaction(then=[Append("a_stream", (("a", "b"),), 100)]), Origin.new("test"))] * 1000
    await store.committer.commit_all(work)
    assert 100 <= await store.redis.xlen("a_stream") < 300


async def test_a_delivery_of_a_server_that_is_not_there_is_neither_committed_nor_refused(store: Store) -> None:
    await store.commands.close()
    store.commands._patience = 0.01
    with pytest.raises(Unavailable):
        await commit(store, Transaction(then=[GOOD]))
