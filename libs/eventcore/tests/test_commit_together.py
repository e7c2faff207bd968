"""Transactions that share a call: each finds what those before it have made, read and written once where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from eventcore import Append, Conflict, Hash, SortedSet, Store, String, Transaction, Write, delete, publish
from eventcore.commit.committer import CommitAnswer, Committed, Duplicate, GuardsFailed, Work
from eventcore.commit.key_numbers import KeyNumbers
from eventcore.commit.transaction import SetFields
from eventcore.errors import StreamFull

from .committing import ORIGIN, delivered
from .samples import Shipped, pending

THING, NOTE, INDEX, COUNT = Hash("thing"), String("note"), SortedSet("index"), Hash("thing")["count"]
LARGEST = 2**53 - 1


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("thing*", "note", "index")


@pytest.fixture
async def held(store: Store) -> Store:
    """A store in which `thing[count]` is 5."""
    await store.redis.hset("thing", mapping={"count": "5"})
    return store


async def commit_together(store: Store, *transactions: Transaction) -> list[CommitAnswer]:
    """Commit all by one call."""
    return await store.committer.commit_all([Work(each, ORIGIN) for each in transactions])


async def called(store: Store, *transactions: Transaction) -> tuple[list[CommitAnswer], dict[str, int]]:
    """The answers, and how often the server has run which command for them."""
    await commit_together(store, Transaction())  # the server knows the script from now on
    await store.redis.config_resetstat()
    answers = await commit_together(store, *transactions)
    counted = await store.redis.info("commandstats")
    return answers, {name.removeprefix("cmdstat_"): about["calls"] for name, about in counted.items()}


def kinds(answers: Sequence[CommitAnswer]) -> list[type]:
    """What became of each."""
    return [type(answer) for answer in answers]


async def test_each_has_its_own_outcome(held: Store) -> None:
    fences = await delivered(held, 100)
    await held.redis.set("thing:text", "no hash")
    done = Transaction(when=[COUNT >= 1], then=[COUNT.add(-1), publish(Shipped(order_id="7"))])
    odd = Transaction(then=[INDEX.add("odd"), Hash("thing:text")["x"].set("y")])
    work = [Work(done if number % 4 else odd, ORIGIN, fence) for number, fence in enumerate(fences)]
    await held.committer.load_script()
    await held.redis.config_resetstat()
    answers = await held.committer.commit_all([*work, *work])

    assert (await held.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 2  # of 128 at most
    became = kinds(answers)
    assert became[:100:4] == became[100::4] == [Conflict] * 25
    assert [kind for kind in became[:100] if kind is not Conflict] == [Committed] * 5 + [GuardsFailed] * 70
    assert [kind for kind in became[100:] if kind is not Conflict] == [Duplicate] * 5 + [GuardsFailed] * 70
    assert await held.redis.hget("thing", "count") == b"0"
    assert await held.redis.xlen("shipments_stream") == 5
    assert not await held.redis.exists("index")
    assert await pending(held) == 95


async def test_what_is_large_goes_to_another_call(store: Store) -> None:
    large = Transaction(then=[Hash("thing").set({"text": "x" * 50 * 1024})])
    answers, calls = await called(store, *[large] * 5)
    assert set(kinds(answers)) == {Committed}
    assert calls["evalsha"] == 2  # of which the first has begun its 128 KiB with two, and ended them with the third


async def test_each_sees_what_the_ones_before_have_written(held: Store) -> None:
    writes: list[list[Write]] = [[COUNT.set(7)], [delete("thing")], [INDEX.add("x")], [COUNT.add(1)]]
    guards = [[COUNT.equals("5")], [COUNT.equals("7")], [COUNT.absent()], []]
    answers = await commit_together(held, *map(Transaction, guards, writes))
    assert set(kinds(answers)) == {Committed}
    assert await held.redis.hgetall("thing") == {b"count": b"1"}


async def test_a_hash_that_many_look_at_is_read_and_written_once_for_all_of_them(held: Store) -> None:
    fields = [THING[str(number)] for number in range(10)]
    take = [Transaction([field.absent(), COUNT >= 1], [field.add(1), COUNT.add(-1)]) for field in fields]
    answers, calls = await called(held, *take)

    assert (calls["hmget"], calls["hset"]) == (1, 1)
    assert kinds(answers) == [Committed] * 5 + [GuardsFailed] * 5
    assert [answer.found[COUNT] for answer in answers if isinstance(answer, GuardsFailed)] == ["0"] * 5
    assert await held.redis.hmget("thing", "count", "4", "5") == [b"0", b"1", None]


async def test_a_hash_that_each_writes_to_is_read_once_all_the_same(held: Store) -> None:
    answers, calls = await called(held, *(Transaction([THING[x].absent()], [THING[x].set(x)]) for x in "abcabc"))
    assert kinds(answers) == [Committed] * 3 + [GuardsFailed] * 3
    assert (calls["hmget"], calls["hset"]) == (1, 3)


async def test_hashes_that_should_be_new_are_looked_at_together(held: Store) -> None:
    once = [Transaction([Hash(f"thing:{n}")["a"].absent()], [Hash(f"thing:{n}")["a"].set(n)]) for n in range(10)]
    for looks, kind in ((0, Committed), (10, GuardsFailed)):
        answers, calls = await called(held, *once)
        assert (calls["exists"], calls.get("hmget", 0)) == (1, looks)
        assert set(kinds(answers)) == {kind}


PLACES = [Hash(f"thing:{n}") for n in range(3)]


@pytest.mark.parametrize(
    "transactions",
    [
        [Transaction([place["a"].absent()], [place["a"].add(1)]) for place in PLACES],
        [Transaction([place[name].absent()], [place[name].set(1)]) for place in PLACES for name in "bc"],
    ],
    ids=["adding", "putting"],
)
async def test_what_is_written_to_one_new_hash_is_not_found_in_another(
    transactions: list[Transaction], store: Store
) -> None:
    assert set(kinds(await commit_together(store, *transactions))) == {Committed}


async def test_a_value_that_is_put_comes_after_what_was_added_before(held: Store) -> None:
    [*answers, last] = await commit_together(
        held,
        Transaction([THING["other"].absent()], [COUNT.add(1)]),
        Transaction([COUNT >= 6], [COUNT.set("nine"), THING["x"].set("y")]),
        Transaction([COUNT.equals("nine"), THING["x"].present()]),
        Transaction(then=[COUNT.add(1)]),
    )
    assert kinds(answers) == [Committed] * 3
    assert isinstance(last, Conflict)
    assert await held.redis.hgetall("thing") == {b"count": b"nine", b"x": b"y"}


async def test_a_key_may_become_something_else_and_be_counted_anew(held: Store) -> None:
    note = Append("thing", (("a", "b"),))
    answers = await commit_together(
        held,
        Transaction(then=[COUNT.add(1)]),
        Transaction([COUNT.equals("6")], [delete("thing")]),
        Transaction(then=[delete("thing"), note]),
        Transaction(then=[note]),
        Transaction(then=[COUNT.add(1)]),
        Transaction(then=[delete("thing")]),
        Transaction([THING["x"].absent()], [COUNT.add(2)]),
        Transaction(then=[delete("thing")]),
        Transaction(then=[delete("thing"), SortedSet("thing").add("x")]),
        Transaction([THING["x"].absent()], [COUNT.add(1)]),
        Transaction(then=[SortedSet("thing").remove("x")]),
        Transaction([String("thing").absent()], [String("thing").set("x")]),
        Transaction(then=[SortedSet("thing").add("x")]),
    )
    wrong = {4, 9, 12}
    assert kinds(answers) == [Conflict if number in wrong else Committed for number in range(13)]
    assert await held.redis.get("thing") == b"x"


async def test_a_stream_that_was_trimmed_has_room_again(store: Store) -> None:
    for _ in range(250):
        await store.publish(Shipped(order_id="7"))
    store.committer._cap = 250
    ship = Transaction(then=[publish(Shipped(order_id="7"))])
    trim = Transaction(then=[Append("shipments_stream", (("a", "b"),), max_length=10)])
    answers = await commit_together(store, ship, trim, ship)
    assert kinds(answers) == [StreamFull, Committed, Committed]


async def test_sums_stay_within_the_range_in_which_integers_are_exact(held: Store) -> None:
    *_, last = await commit_together(held, Transaction(then=[COUNT.add(LARGEST - 5)]), Transaction(then=[COUNT.add(1)]))
    assert isinstance(last, Conflict)
    assert f"holds '{LARGEST}'" in str(last)
    assert await held.redis.hget("thing", "count") == str(LARGEST).encode()


async def test_what_can_not_be_compiled_leaves_nothing_behind_for_others(held: Store) -> None:
    other = Hash("thing:other")["a"]
    bad = Transaction([Hash("thing:new")["\ud800"].absent(), THING["\ud800"].absent()])
    good = Transaction([other.absent()], [other.set(1)])
    put = Transaction(then=[INDEX.add("x"), Hash("thing:new")["x"].set("y")])
    fences = await delivered(held, 4)
    work = [Work(each, ORIGIN, fence) for each, fence in zip([bad, good, bad, put], fences, strict=True)]
    assert kinds(await held.committer.commit_all(work)) == [UnicodeEncodeError, Committed] * 2
    assert await held.redis.hgetall("thing:new") == {b"x": b"y"}


def test_what_is_undone_was_never_named() -> None:
    keys = KeyNumbers()
    fields = keys.fields(keys.number("thing"))
    keys.name("a", fields)
    before, told = keys.mark(), keys.looked_at()
    keys.name("b", fields)
    keys.name("c", keys.fields(keys.number("other")))
    keys.expect_new(keys.number("other"))

    keys.undo(before)
    assert (keys.names, keys.looked_at()) == ([b"thing"], told)
    assert (keys.number("third"), keys.number("other")) == (2, 3)


async def test_a_pair_that_is_none_and_an_amount_that_is_no_integer_are_refused(held: Store) -> None:
    half, triple, shifted = 1.5, (("a", "b", "c"),), (("a",), ("b", "c", "d"))
    odd: list[Any] = [SetFields("thing", triple), SetFields("thing", shifted), Append("log", triple), COUNT.add(half)]  # type: ignore[arg-type]
    answers = await commit_together(held, *(Transaction(then=[INDEX.add("x"), write]) for write in odd))
    assert kinds(answers) == [ValueError] * 3 + [TypeError]
    assert await held.redis.hgetall("thing") == {b"count": b"5"}


async def test_a_hash_that_each_removes_is_not_read_again(held: Store) -> None:
    again = [Transaction([THING[name].absent()], [COUNT.add(1)]) for name in "abc"]
    remove = Transaction(then=[delete("thing")])
    answers, calls = await called(
        held, *(each for one in again for each in (one, remove)), Transaction(then=[COUNT.add(2)])
    )
    assert set(kinds(answers)) == {Committed}
    assert calls["hmget"] == 1
    assert await held.redis.hgetall("thing") == {b"count": b"2"}


async def test_deliveries_and_what_settles_none_are_committed_together(held: Store) -> None:
    fences = await delivered(held, 2)
    add = Transaction(then=[COUNT.add(1)])
    work = [Work(add, ORIGIN, fences[0]), Work(add, ORIGIN), Work(add, ORIGIN, fences[1])]
    assert set(kinds(await held.committer.commit_all(work))) == {Committed}
    assert await held.redis.hget("thing", "count") == b"8"
