"""Reading: places say what they hold as text and numbers, several at one moment, and name what is something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventcore import (
    Forbidden,
    Hash,
    Members,
    Query,
    Readable,
    Settings,
    SortedSet,
    Store,
    String,
    Transaction,
    Unavailable,
    Unreadable,
    sound,
)
from eventcore.server.pipe import Command
from eventcore.testing import Server
from eventcore.testing.fixtures import Connect

from .restricted import restrict, restricted

POINTS, NOTE, INDEX = Hash("points"), String("note"), SortedSet("index")
BEYOND = str(2**53 + 1)
NO_UTF8 = b"\xff\xfe"


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("{shop}:*",)


@pytest.fixture
async def held(connect: Connect) -> Store:
    """A store with a prefix, and something of each kind under it."""
    store = await connect(key_prefix="{shop}:")
    await store.redis.hset(store.key("points"), mapping={"VINET": "12", "TOMSP": BEYOND, "": ""})
    await store.redis.set(store.key("note"), "grüß Gott")
    await store.redis.zadd(store.key("index"), dict.fromkeys("abcde", 0))
    await store.redis.zadd(store.key("scores"), {"low": 1, "high": 2.5, "mid": 2})
    return store


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (POINTS["VINET"], "12"),
        (POINTS["nobody"], None),
        (POINTS[""], ""),
        (Hash("nothing")["x"], None),
        (POINTS["VINET"].as_int, 12),
        (POINTS["TOMSP"].as_int, 2**53 + 1),
        (POINTS["nobody"].as_int, None),
        (POINTS, {"VINET": "12", "TOMSP": BEYOND, "": ""}),
        (Hash("nothing"), {}),
        (Hash("nothing").as_int, {}),
        (POINTS.exists, True),
        (Hash("nothing").exists, False),
        (NOTE, "grüß Gott"),
        (String("nothing"), None),
        (String("nothing").as_int, None),
        (INDEX.score("a"), 0.0),
        (SortedSet("scores").score("high"), 2.5),
        (INDEX.score("z"), None),
        (SortedSet("scores").ranked(count=2), [("low", 1.0), ("mid", 2.0)]),
        (SortedSet("scores").ranked(1, count=5, reverse=True), [("mid", 2.0), ("low", 1.0)]),
        (SortedSet("nothing").ranked(count=5), []),
    ],
)
async def test_a_place_is_read(place: Readable[Any] | Query[Any], value: object, held: Store) -> None:
    found = await held.read(place)
    assert (found, type(found)) == (value, type(value))


async def test_several_places_are_read_and_told_apart_by_their_types(held: Store) -> None:
    count, everything, note, score = await held.read(POINTS["VINET"].as_int, POINTS, NOTE, INDEX.score("b"))
    assert count == 12
    assert sorted(everything) == ["", "TOMSP", "VINET"]
    assert (note, score) == ("grüß Gott", 0.0)
    assert await held.read(POINTS["VINET"], POINTS["VINET"].as_int, POINTS["VINET"]) == ("12", 12, "12")
    assert await held.read_each([]) == []


async def test_pages_of_a_sorted_set_go_both_ways_and_say_where_to_go_on(held: Store) -> None:
    for reverse, expected in ((False, ["ab", "cd", "e"]), (True, ["ed", "cb", "a"])):
        pages, position = [], None
        while True:
            bound = {"before" if reverse else "after": position}
            page: Members = await held.read(INDEX.page(**bound, count=2, reverse=reverse))
            pages.append("".join(page.members))
            if (position := page.next) is None:
                break
        assert pages == expected
    assert (await held.read(INDEX.page(after="a", before="d", count=9))).members == ["b", "c"]
    assert (await held.read(INDEX.page(count=5))).next is None


@pytest.mark.parametrize("count", [0, -1])
def test_a_page_of_nothing_is_refused(count: int) -> None:
    for page in (INDEX.page, INDEX.ranked):
        with pytest.raises(ValueError, match="can't be read"):
            page(count=count)


async def test_a_member_that_is_no_text_is_named_and_stops_no_page(held: Store) -> None:
    await held.redis.zadd(held.key("index"), {b"c" + NO_UTF8: 0})
    whole = await held.read(INDEX.page(count=9))
    assert [str(each) for each in whole.each] == [*"abc", "a member of index holds no text", *"de"]
    with pytest.raises(Unreadable, match="a member of index"):
        _ = whole.members
    odd = await held.read(INDEX.page(after="c", count=1))
    assert (await held.read(INDEX.page(after=odd.next, count=1))).members == ["d"]
    with pytest.raises(Unreadable, match="a member of index"):
        await held.read(INDEX.ranked(count=9))


@pytest.mark.parametrize("value", ["many", "", " 1", "1_000", "1.5", "1e3", "+1", "٣", NO_UTF8, "9" * 5000], ids=ascii)
async def test_what_is_no_integer_is_named(value: str | bytes, held: Store) -> None:
    await held.redis.hset(held.key("points"), "VINET", value)
    await held.redis.set(held.key("note"), value)
    for place, said in ((POINTS["VINET"].as_int, r"points\[VINET\]"), (NOTE.as_int, "note"), (POINTS.as_int, "points")):
        with pytest.raises(Unreadable, match=f"^{said}.* holds no integer$"):
            await held.read(place)


async def test_what_is_no_text_is_named(held: Store) -> None:
    await held.redis.hset(held.key("points"), mapping={"VINET": NO_UTF8, "TOMSP": "1"})
    await held.redis.set(held.key("note"), NO_UTF8)
    for place in (POINTS["VINET"], POINTS):
        with pytest.raises(Unreadable, match=r"^points\[VINET\] holds no text$"):
            await held.read(place)
    with pytest.raises(Unreadable, match=r"^note holds no text$"):
        await held.read(NOTE)
    each = await held.read(POINTS.each)
    assert {name: str(value) for name, value in each.items()} == {
        "VINET": "points[VINET] holds no text", "TOMSP": "1", "": ""
    }  # fmt: skip
    assert sound(each["TOMSP"]) == "1"
    with pytest.raises(Unreadable, match="holds no text"):
        sound(each["VINET"])
    await held.redis.hset(held.key("points"), mapping={"VINET": "1", NO_UTF8: "1"})
    with pytest.raises(Unreadable, match="a field's name of points holds no text"):
        await held.read(POINTS)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Hash("note")["x"], "note holds no hash"),
        (Hash("note"), "note holds no hash"),
        (String("points"), "points holds no string"),
        (SortedSet("points").score("x"), "points holds no sorted set"),
        (SortedSet("points").page(count=1), "points holds no sorted set"),
    ],
)
async def test_a_key_of_another_type_is_named_and_spoils_no_answer_about_others(
    place: Readable[Any], said: str, held: Store
) -> None:
    with pytest.raises(Unreadable, match=said):
        await held.read(place)
    with pytest.raises(Unreadable, match=said):
        await held.read(POINTS["VINET"], place)
    odd, other = await held.read_each([place, POINTS["VINET"]])
    assert (str(odd), other) == (said, "12")


class Sent:
    """The pipe's commands, as they go by."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[Command]] = []
        send = store.commands.pipeline

        def pipeline(commands: list[Command]) -> Any:
            self.calls.append(list(commands))
            return send(commands)

        monkeypatch.setattr(store.commands, "pipeline", pipeline)


async def test_each_call_is_one_round_trip_and_the_fields_of_a_hash_one_command(
    held: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(held, monkeypatch)
    await held.read_each([POINTS[name] for name in "abc"])
    await held.read(POINTS["a"], NOTE)
    assert [[command[0] for command in call] for call in sent.calls] == [["HMGET"], ["MULTI", "HMGET", "GET", "EXEC"]]


async def test_several_places_are_seen_at_one_moment(held: Store) -> None:
    one, other = Hash("one")["x"], String("other")
    done = False

    async def change() -> None:
        for n in range(300):
            await held.commit(Transaction(then=[one.set(n), other.set(str(n))]))

    async def look() -> None:
        while not done:
            seen, beside = await held.read(one, other)
            assert seen == beside

    looking = [asyncio.create_task(look()) for _ in range(3)]
    await change()
    done = True
    await asyncio.gather(*looking)


@pytest.fixture
async def user(store: Store, connect: Connect) -> AsyncIterator[Store]:
    """A store whose user's rights the test changes."""
    async with restricted(store.redis, store.settings) as url:
        yield await connect(redis_url=url)


async def test_what_may_not_be_read_is_named(user: Store, store: Store) -> None:
    await restrict(store.redis, "-get")
    with pytest.raises(Forbidden, match="GET on note"):
        await user.read(NOTE)
    with pytest.raises(Forbidden, match="GET on note"):
        await user.read(POINTS["x"], NOTE)
    await restrict(store.redis, "resetkeys", "~points")
    with pytest.raises(Forbidden, match="GET on note"):
        await user.read(POINTS["x"], NOTE)
    await restrict(store.redis, "-multi")
    with pytest.raises(Forbidden):
        await user.read(POINTS["x"], NOTE)


async def test_without_a_server_nothing_can_be_read() -> None:
    with Server() as server:
        store = Store(Settings(redis_url=server.url), source="test")
        await store.__aenter__()
        assert await store.read(NOTE) is None
    try:
        for read in (store.read(NOTE), store.read(NOTE, POINTS)):
            with pytest.raises(Unavailable):
                await read
    finally:
        await store.__aexit__(None, None, None)


async def test_the_server_says_what_time_it_is(store: Store) -> None:
    assert abs(await store.now() - datetime.now(UTC)) < timedelta(minutes=1)
