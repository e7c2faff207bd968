"""Where a group begins: where its router says when it is made, and where a setting says when it is made again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from eventcore import Consumer, Router, Store
from eventcore.consume.delivery import entry_time
from eventcore.consume.router import united
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .samples import EAGER, GROUP, RETRY_STREAM, STREAM, Ordered, Shipped, acknowledge, noting, publish_orders


def router_at(start: Any, noted: list[Any] | None = None) -> Router:
    router = Router(group=GROUP, retry=EAGER, start=start)
    router.on(Ordered)(acknowledge if noted is None else noting(noted))
    return router


async def begin(store: Store, router: Router) -> None:
    """The group is made, and its consumer ends."""
    await run_until_idle(store, Consumer(store, router))


async def start_ids(store: Store, stream: str = STREAM) -> list[str]:
    return [row["last-delivered-id"].decode() for row in await store.redis.xinfo_groups(stream)]


@pytest.mark.parametrize(
    ("start_of", "handled"),
    [
        (lambda middle: "beginning", ["1", "2", "3", "4"]),
        (lambda middle: "now", ["4"]),
        (lambda middle: middle, ["3", "4"]),
        (entry_time, ["3", "4"]),
    ],
    ids=["beginning", "now", "entry id", "time"],
)
async def test_a_group_begins_where_its_router_says(
    start_of: Callable[[str], Any], handled: list[str], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    noted: list[str] = []
    for number, milliseconds in enumerate((1000, 2000, 3000), 1):
        [entry_id] = await publish_orders(store, number)
        [(_, fields)] = await store.redis.xrange(STREAM, entry_id, entry_id)
        await store.redis.xdel(STREAM, entry_id)
        await store.redis.xadd("moved", fields, id=f"{milliseconds}-0")
    await store.redis.rename("moved", STREAM)
    await begin(store, router_at(start_of("2000-0"), noted))
    await publish_orders(store, 4)
    await begin(store, router_at(start_of("2000-0"), noted))

    assert noted == handled
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_what_comes_by_the_retry_stream_reaches_a_group_wherever_it_begins(store: Store) -> None:
    noted: list[str] = []
    await publish_orders(store, 1)
    [(_, fields)] = await store.redis.xrange(STREAM)
    await store.redis.xadd(RETRY_STREAM, fields)
    await begin(store, router_at("now", noted))
    assert noted == ["1"]


async def test_a_start_moves_no_group_that_is_there(store: Store) -> None:
    noted: list[str] = []
    await begin(store, router_at("beginning", noted))
    await publish_orders(store, 1)
    await begin(store, router_at("now", noted))
    assert noted == ["1"]


@pytest.mark.parametrize(("again", "handled"), [("beginning", ["1", "2"]), ("start", ["2"])])
async def test_a_group_that_was_destroyed_begins_where_the_setting_says_and_says_so(
    again: str, handled: list[str], connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store, noted = await connect(group_recreated_at=again), list[str]()
    await publish_orders(store, 1)
    consumer = Consumer(store, router_at("now", noted))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await store.redis.xgroup_destroy(STREAM, GROUP)
        await until(lambda: f"{STREAM} was missing" in caplog.text)
        await publish_orders(store, 2)
        await until_idle(store, consumer)
    assert noted == handled
    assert f"recreated at id {'0' if again == 'beginning' else '$'}" in caplog.text


async def test_a_consumer_that_comes_when_the_group_of_its_peers_is_destroyed_makes_no_new_one_of_it(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    store, noted = await connect(pod_name="pod-1"), list[str]()
    await publish_orders(store, 1)
    await store.redis.zadd(f"{STREAM}:{GROUP}:beats", {"pod-2": 1})
    await begin(store, router_at("now", noted))
    assert noted == ["1"]
    assert f"consumer group {GROUP} on {STREAM} was missing; recreated at id 0" in caplog.text
    assert f"{RETRY_STREAM} was missing" not in caplog.text


async def test_of_replicas_that_make_a_group_at_once_the_first_says_where_it_begins(connect: Connect) -> None:
    stores = [await connect(pod_name=f"pod-{number}") for number in range(4)]
    await publish_orders(stores[0], 1, 2)
    starts = ["beginning", "now", "5-0", "7-0"]
    consumers = [Consumer(store, router_at(start)) for store, start in zip(stores, starts, strict=True)]
    ids = [consumer.router.start_id for consumer in consumers]
    made = await asyncio.gather(
        *(consumer.member.create({STREAM: start}) for consumer, start in zip(consumers, ids, strict=True))
    )
    [first] = [number for number, streams in enumerate(made) if STREAM in streams]
    last = (await stores[0].redis.xinfo_stream(STREAM))["last-generated-id"].decode()
    assert await start_ids(stores[0]) == [{"0": "0-0", "$": last}.get(ids[first], ids[first])]


@pytest.mark.parametrize(
    ("start", "start_id"),
    [
        ("beginning", "0"),
        ("now", "$"),
        ("0-0", "0-0"),
        ("18446744073709551615-18446744073709551615", "18446744073709551615-18446744073709551615"),
        (datetime(2026, 12, 1, 4, 0, 0, 123_999, UTC), "1796097600123-0"),
        (datetime(1969, 1, 1, tzinfo=UTC), "0-0"),
    ],
)
def test_a_start_becomes_an_entry_id(start: str | datetime, start_id: str) -> None:
    assert Router(group="g", start=start).start_id == start_id


@pytest.mark.parametrize(
    "start",
    ["", "end", "$", "0", "-", "1732356000123", "1-1-1", "18446744073709551616-0", " 1-1", "\N{SUPERSCRIPT TWO}-1"],
)
def test_a_start_that_is_none_is_refused_where_it_is_declared(start: str) -> None:
    with pytest.raises(ValueError, match=r"^g: start must be 'beginning', 'now', a datetime or an entry id"):
        Router(group="g", start=start)


def test_a_start_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^g: start 2026-12-01 00:00:00 has no time zone"):
        Router(group="g", start=datetime(2026, 12, 1))  # noqa: DTZ001 - that is the point


def test_routers_of_one_group_begin_at_one_place() -> None:
    other = Router(group=GROUP, start="beginning")
    other.on(Shipped)(acknowledge)
    with pytest.raises(TypeError, match=rf"{GROUP} can't begin at two places: 'now' and 'beginning'"):
        united([router_at("now"), other], retry=EAGER)
