"""Routers and programs that share a group: no event is acknowledged by one that has no handler for it, unsaid."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestServer

from eventcore import Consumer, Event, RetryPolicy, Router, Settings, Store, Transaction
from eventcore.testing import Server, run_until_idle, running, until
from eventcore.testing.fixtures import Connect
from eventcore.web import create_service

from .samples import DEAD_LETTERS, EAGER, GROUP, STREAM, Ordered, acknowledge, noting, publish_orders
from .tool import run


class Cancelled(Event, type="sample.cancelled", stream=STREAM):
    """An order was cancelled."""

    order_id: str


class Seen(list[str]):
    """What handlers have seen."""

    def router(self, *events: type[Event], retry: RetryPolicy | None = EAGER) -> Router:
        router = Router(group=GROUP, retry=retry)
        for event in events:
            router.on(event)(noting(self, lambda event: event.type))
        return router


async def publish_both(store: Store, number: int) -> None:
    for each in range(number):
        await store.publish_all([Ordered(order_id=str(each)), Cancelled(order_id=str(each))])


async def test_a_service_with_two_routers_of_one_group_handles_the_events_of_both(
    settings: Settings, store: Store
) -> None:
    seen = Seen()
    app = create_service(settings, name="two", routers=[seen.router(Ordered), seen.router(Cancelled)])
    async with TestServer(app):
        await publish_both(store, 20)
        await until(lambda: len(seen) == 40)
    assert seen.count("sample.ordered") == 20


async def test_one_consumer_runs_several_routers(store: Store) -> None:
    seen = Seen()
    await publish_both(store, 3)
    await run_until_idle(store, Consumer(store, seen.router(Ordered), seen.router(Cancelled)))
    assert sorted(seen) == [*["sample.cancelled"] * 3, *["sample.ordered"] * 3]


async def test_two_consumers_of_one_group_on_one_store_with_other_handlers_are_refused(store: Store) -> None:
    seen = Seen()
    with pytest.raises(TypeError, match=r"of two consumers of tests-group only one handles sample\.cancelled, sample"):
        await run_until_idle(store, Consumer(store, seen.router(Ordered)), Consumer(store, seen.router(Cancelled)))
    await run_until_idle(store, Consumer(store, seen.router(Cancelled)))


def test_routers_of_two_groups_have_no_common_consumer(settings: Settings) -> None:
    other = Router(group="other")
    other.on(Ordered)(acknowledge)
    with pytest.raises(TypeError, match="a consumer belongs to one group, not to tests-group, other"):
        Consumer(Store(settings, source="test"), Seen().router(Ordered), other)


async def test_the_settings_say_how_often_an_event_is_tried_whose_router_does_not(connect: Connect) -> None:
    store = await connect(retry_attempts=2)
    router, tries = Router(group=GROUP), list[str]()

    @router.on(Ordered, retry_for={LookupError: RetryPolicy(attempts=1, base=timedelta(0))})
    def fail(order: Ordered) -> Transaction:
        tries.append(order.order_id)
        raise KeyError if order.order_id == "named" else ValueError

    await publish_orders(store, "plain", "named")
    await run_until_idle(store, Consumer(store, router))
    assert sorted(tries) == ["named", "plain", "plain"]
    letters = [fields for _, fields in await store.redis.xrange(DEAD_LETTERS)]
    assert sorted(letter[b"attempts"] for letter in letters) == [b"1", b"2"]


async def test_programs_of_one_group_that_handle_other_events_say_so_and_status_too(
    connect: Connect, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    old = Consumer(await connect(pod_name="old"), seen.router(Ordered))
    new = Consumer(await connect(pod_name="new"), seen.router(Ordered, Cancelled))
    async with running(old):
        await until(lambda: old.joined)
        async with running(new):
            await until(lambda: new.joined)
            document = (await asyncio.to_thread(run, redis_server, "status", STREAM, "--json")).json
    [warning] = [message for message in caplog.messages if "no handler" in message]
    assert warning == (
        f"old of {GROUP} has no handler for sample.cancelled of {STREAM}, which new has: "
        "it acknowledges such events unseen"
    )
    [problem] = [each["message"] for each in document["problems"] if each["kind"] == "handlers_differ"]
    assert problem == (
        "no handler for sample.cancelled in old, but in others of the group: such events are acknowledged unseen"
    )
    [group] = document["streams"][0]["groups"]
    handled = {each["consumer"]: each["handles"] for each in group["consumers"]}
    assert handled == {"old": ["sample.ordered"], "new": ["sample.cancelled", "sample.ordered"]}


async def test_programs_that_handle_the_same_events_say_nothing(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    pods = [Consumer(await connect(pod_name=f"pod-{n}"), Seen().router(Ordered)) for n in (1, 2)]
    async with running(*pods):
        await until(lambda: all(pod.joined for pod in pods))
    assert not [message for message in caplog.messages if "no handler" in message]
