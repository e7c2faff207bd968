"""What can't come back is not put aside, what doesn't come back is told, and what is lost there is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from eventcore import Consumer, Retry, Store
from eventcore.testing import running, until, until_idle
from eventcore.testing.fixtures import Connect

from .restricted import grant, restrict, restricted
from .samples import DEAD_LETTERS, RETRY_STREAM, STREAM, pending, publish_orders, router_for
from .test_aside import ASIDE, ENTRIES, Refusing, aside, is_aside

LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


def later() -> Retry:
    return Retry("later", after=timedelta(seconds=90))


@pytest.fixture
async def user(store: Store, connect: Connect) -> AsyncIterator[Store]:
    """A store whose user's rights the test changes."""
    async with restricted(store.redis, store.settings) as url:
        yield await connect(redis_url=url)


async def forbid_retries(store: Store) -> None:
    """Let the user add to every stream but the retry stream."""
    letters = (f"(~{STREAM} +xadd)", f"(~{DEAD_LETTERS} +xadd)")
    await restrict(store.redis, "-xadd", *letters)


async def make_all_due(store: Store) -> None:
    for name in await store.redis.zrange(ASIDE, 0, -1):
        await store.redis.zadd(ASIDE, {name: 1})


async def test_the_right_to_come_back_is_asked_for_at_the_start(store: Store, user: Store) -> None:
    await forbid_retries(store)
    consumer = Consumer(user, router_for(Refusing("1", [])))
    async with running(consumer):
        await until(lambda: f"no permission to run XADD on {RETRY_STREAM}" in (consumer.problem or ""))
        await grant(store.redis)
        await until(lambda: consumer.problem is None)


async def test_what_could_not_come_back_stays_pending(
    store: Store, user: Store, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(user, router_for(Refusing("1", [later()])))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await forbid_retries(store)
        await publish_orders(store, 1)
        await until(
            lambda: (
                f"what waits stays pending: the Redis user has no permission to run XADD on {RETRY_STREAM}"
                in caplog.text
            )
        )
        assert (await aside(store), await pending(store)) == (0, 1)


async def test_where_the_retry_stream_is_out_of_ids_nothing_is_put_aside(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(store, router_for(Refusing("1", [later()])))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await store.redis.xadd(RETRY_STREAM, {"x": "1"}, id=LAST_ID)
        await publish_orders(store, 1)
        await until(
            lambda: f"what waits stays pending: ERR {RETRY_STREAM} has exhausted the last possible ID" in caplog.text
        )
        assert (await aside(store), await pending(store)) == (0, 1)


async def test_what_does_not_come_back_is_said_and_the_consumer_not_ready(store: Store, user: Store) -> None:
    handler = Refusing("1", [later()])
    consumer = Consumer(user, router_for(handler))
    await publish_orders(store, 1)
    async with running(consumer):
        await until(partial(is_aside, store, 1))
        await forbid_retries(store)
        await make_all_due(store)
        await until(
            lambda: (
                f"can't bring back what was put aside: the Redis user has no permission to run XADD on {RETRY_STREAM}"
                in (consumer.problem or "")
            )
        )
        await grant(store.redis)
        await until_idle(store, consumer)
        await until(lambda: consumer.problem is None)
    assert handler.handled == ["1"]


async def test_entries_that_somebody_deletes_while_they_are_aside_are_lost(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    [entry_id] = await publish_orders(store, 1)
    consumer = Consumer(store, router_for(Refusing("1", [later()])))
    async with running(consumer):
        await until(partial(is_aside, store, 1))
        await store.redis.delete(ENTRIES)
        await make_all_due(store)
        told = f"entry {entry_id} of {STREAM} was deleted while it was put aside: it is lost"
        await until(lambda: told in caplog.messages)
        assert await aside(store) == 0


async def test_entries_of_which_somebody_deletes_only_the_time_come_back_at_once(store: Store) -> None:
    handler = Refusing("1", [later()])
    consumer = Consumer(store, router_for(handler))
    await publish_orders(store, 1)
    async with running(consumer):
        await until(partial(is_aside, store, 1))
        await store.redis.delete(ASIDE)
        await until_idle(store, consumer)
        await until(lambda: handler.handled == ["1"])
