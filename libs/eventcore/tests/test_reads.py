"""Reads of a transaction: what `otherwise` sees beside the guarded places, at the moment at which a guard failed."""

from __future__ import annotations

from typing import Any

import pytest

from eventcore import Forbidden, Found, GuardFailed, Hash, Readable, SortedSet, Store, String, Transaction, Unreadable
from eventcore.commit.committer import CommitAnswer, Committed, Duplicate, GuardsFailed, Work
from eventcore.testing.fixtures import Connect

from .committing import ORIGIN, commit, delivered
from .restricted import restrict, restricted
from .samples import pending

THING, NOTE, INDEX = Hash("thing"), String("note"), SortedSet("index")
FREE = THING["status"].absent()


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("thing*", "note", "index", "{shop}:*")


@pytest.fixture
async def held(connect: Connect) -> Store:
    store = await connect(key_prefix="{shop}:")
    await store.redis.hset(store.key("thing"), mapping={"status": "taken", "count": "5"})
    await store.redis.set(store.key("note"), "hello")
    await store.redis.zadd(store.key("index"), dict.fromkeys("abc", 0))
    return store


def found_in(answer: CommitAnswer) -> Found:
    assert isinstance(answer, GuardsFailed), answer
    return answer.found


async def test_otherwise_sees_whatever_can_be_read(held: Store) -> None:
    page = INDEX.page(count=2)
    reads = [THING, THING["count"].as_int, THING["nothing"], NOTE, String("thing:none"), INDEX.score("b"), page]
    seen: list[Found] = []

    def look(found: Found) -> list[Any]:
        seen.append(found)
        return []

    await held.commit(Transaction([FREE], [THING["status"].set("mine")], look, reads=(each for each in reads)))  # type: ignore[arg-type]
    [found] = seen
    assert found[THING["status"]] == "taken"
    assert found[THING] == {"status": "taken", "count": "5"}
    assert found[THING["count"].as_int] == 5
    assert (found[THING["nothing"]], found[NOTE], found[String("thing:none")]) == (None, "hello", None)
    assert found[INDEX.score("b")] == 0.0
    assert (found[page].members, found[page].next) == (["a", "b"], "b")
    assert found.failed == (FREE,)


async def test_whose_guards_hold_reads_nothing(held: Store) -> None:
    wrong_type = String("thing")
    transaction = Transaction([THING["status"].present()], [THING["count"].add(1)], reads=[wrong_type])
    assert isinstance(await commit(held, transaction), Committed)
    assert await held.read(THING["count"]) == "6"


async def test_without_otherwise_the_error_tells_what_was_read(held: Store) -> None:
    with pytest.raises(GuardFailed) as raised:
        await held.commit(Transaction([FREE], reads=[NOTE]))
    assert raised.value.found[NOTE] == "hello"


async def test_what_those_before_it_in_one_call_have_added_is_seen(held: Store) -> None:
    add = Transaction([THING["count"] >= 1], [THING["count"].add(1)])
    look = Transaction([FREE], [NOTE.set("x"), INDEX.add("d")], reads=[THING["count"].as_int, THING.as_int])
    work = [Work(each, ORIGIN) for each in (add, look, add)]
    _, answer, _ = await held.committer.commit_all(work)
    assert isinstance(answer, Unreadable), "status is no integer"
    look = Transaction([FREE], [NOTE.set("x"), INDEX.add("d")], reads=[THING["count"].as_int, THING])
    _, answer, _ = await held.committer.commit_all([Work(each, ORIGIN) for each in (add, look, add)])
    assert found_in(answer)[THING["count"].as_int] == 8
    assert found_in(answer)[THING] == {"status": "taken", "count": "8"}
    assert await held.read(THING["count"], NOTE) == ("9", "hello")


async def test_a_delivery_that_was_committed_is_a_duplicate_and_reads_nothing(held: Store) -> None:
    [fence] = await delivered(held)
    once = Transaction([THING["done"].absent()], [THING["done"].set(1)], reads=[String("thing")])
    assert isinstance(await commit(held, once, fence), Committed)
    assert isinstance(await commit(held, once, fence), Duplicate)


async def test_what_can_not_be_read_is_named_and_nothing_is_written(held: Store) -> None:
    fences = await delivered(held, 2)
    cases: list[tuple[Readable[Any], str]] = [
        (String("thing"), "thing holds no string"),
        (THING["status"].as_int, "thing[status] holds no integer"),
    ]
    for (place, said), fence in zip(cases, fences, strict=True):
        answer = await commit(held, Transaction([FREE], [THING["status"].set("mine")], reads=[place]), fence)
        assert (type(answer), str(answer)) == (Unreadable, said)
    assert await pending(held) == 2
    assert await held.read(THING["status"]) == "taken"


async def test_what_may_not_be_read_is_named(store: Store, connect: Connect) -> None:
    await store.redis.hset("thing", "status", "taken")
    async with restricted(store.redis, store.settings) as url:
        user = await connect(redis_url=url)
        await restrict(store.redis, "-get")
        with pytest.raises(Forbidden, match="GET on note"):
            await user.commit(Transaction([FREE], [THING["x"].set(1)], reads=[NOTE]))
