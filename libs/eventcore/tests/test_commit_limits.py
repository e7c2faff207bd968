"""Commits at the edges of what a server can take: many fields, large entries, a full memory."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from pydantic import SecretStr

from eventcore import Consumer, Event, Hash, Settings, Store, Transaction, Unavailable, Write, publish
from eventcore.commit.committer import Committed, GuardsFailed
from eventcore.commit.transaction import Guard
from eventcore.events.envelope import LARGEST_EVENT
from eventcore.testing import running, until
from eventcore.testing.fixtures import Connect, StartServer

from .committing import commit, delivered, picture
from .samples import Ordered, acknowledge, noting, pending, publish_orders, router_for

WIDE = Hash("wide")


class Large(Event, type="sample.large", stream="large_stream"):
    text: str


async def fill(store: Store) -> None:
    while True:
        await asyncio.gather(*(store.publish(Large(text="x" * 100_000)) for _ in range(10)))


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("wide",)


@pytest.mark.parametrize("number", [1000, 1001, 10_000])
async def test_as_many_fields_as_one_likes_are_guarded_and_written(number: int, store: Store) -> None:
    fields = [WIDE[str(n)] for n in range(number)]
    await commit(store, Transaction(then=[field.set(n) for n, field in enumerate(fields)]))
    writes: list[Write] = [field.add(1) for field in fields]
    writes += [WIDE[f"new {n}"].set(n) for n in range(number)]
    answer = await commit(store, Transaction(when=[field >= n for n, field in enumerate(fields)], then=writes))

    assert isinstance(answer, Committed)
    values = await store.redis.hgetall("wide")
    assert values == {
        **{str(n).encode(): str(n + 1).encode() for n in range(number)},
        **{f"new {n}".encode(): str(n).encode() for n in range(number)},
    }


async def test_one_failing_guard_among_ten_thousand_is_found(store: Store) -> None:
    fields = [WIDE[str(n)] for n in range(10_000)]
    await commit(store, Transaction(then=[field.set(1) for field in fields]))
    answer = await commit(store, Transaction(when=[field >= (2 if field.name == "7777" else 1) for field in fields]))
    assert isinstance(answer, GuardsFailed)
    assert answer.found.failed == (WIDE["7777"] >= 2,)
    assert len(answer.found) == 10_000


async def test_ten_thousand_keys_in_one_transaction(store: Store) -> None:
    guards: list[Guard] = []
    writes: list[Write] = [publish(Ordered(order_id="7"))]
    for n in range(10_000):
        place = Hash(f"wide:{n}")
        guards.append(place["x"].absent())
        writes += [place["x"].set(n), place.expire(timedelta(hours=1))]
    assert isinstance(await commit(store, Transaction(guards, writes)), Committed)
    assert await store.redis.hget("wide:9999", "x") == b"9999"


async def test_an_event_as_large_as_may_be_passes(store: Store) -> None:
    text = "ö" * (LARGEST_EVENT // 2 - 500)
    assert isinstance(await commit(store, Transaction(then=[publish(Large(text=text))])), Committed)
    [(_, fields)] = await store.redis.xrange("large_stream")
    assert LARGEST_EVENT - 1000 < len(fields[b"event"]) <= LARGEST_EVENT


async def test_a_full_memory_refuses_producers_and_lets_consumers_drain(
    start_server: StartServer, connect: Connect, settings: Settings
) -> None:
    server = start_server(maxmemory="8mb")
    store = await connect(redis_url=SecretStr(server.url))
    await store.commands.wait_connected()
    [fence] = await delivered(store)
    with pytest.raises(Unavailable):
        await fill(store)
    before = await picture(store.redis)

    transaction = Transaction(then=[Hash("a")["count"].add(1), publish(Ordered(order_id="8"))])
    refused = await commit(store, transaction)
    assert isinstance(refused, Unavailable)
    assert refused.retry_after
    assert await picture(store.redis) == before

    assert isinstance(await commit(store, transaction, fence), Committed)
    assert await pending(store) == 0


async def test_a_consumer_that_joins_while_the_memory_is_full_drains_it(
    start_server: StartServer, connect: Connect
) -> None:
    store = await connect(redis_url=SecretStr(start_server().url))
    await store.commands.wait_connected()
    handled: list[str] = []
    await Consumer(store, router_for(acknowledge)).member.create()
    await publish_orders(store, *range(10))
    await store.redis.config_set("maxmemory", 1)
    with pytest.raises(Unavailable):
        await publish_orders(store, "one too many")

    async with running(Consumer(store, router_for(noting(handled)))):
        await until(lambda: len(handled) == 10)
