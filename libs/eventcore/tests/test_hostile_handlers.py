"""Nothing that a handler raises or returns stops its consumer: it is a failed attempt, and in the end a dead letter."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Never

import pytest

from eventcore import Consumer, Event, Hash, Retry, Router, Store, Transaction, Unavailable, Undecodable
from eventcore.consume import handler_task as running
from eventcore.consume.deciding import Decider
from eventcore.consume.delivery import Delivery
from eventcore.consume.in_flight import Holding
from eventcore.server.keys import aside_entries_key, aside_key
from eventcore.testing import run_until_idle, until, until_idle
from eventcore.testing import running as consuming

from .samples import EAGER, GROUP, STREAM, Ordered, noting, publish_orders, router_for
from .test_consumer_failures import letters


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Cancels(Exception):
    def __str__(self) -> str:
        raise asyncio.CancelledError


class Endless(Exception):
    def __str__(self) -> str:
        return f"{self}"


class OddClass(type):
    def __hash__(cls) -> int:
        raise RuntimeError("no hash")

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("no comparison")

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Odd(Exception, metaclass=OddClass):
    pass


class Text(str):
    def __getitem__(self, key: Any) -> Never:
        raise RuntimeError("no part")


class Odder(SyntaxError):
    """Which `traceback` can't format: its line is no text."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.filename, self.lineno, self.text, self.offset = "x", 1, 7, 3  # type: ignore[assignment]

    def __str__(self) -> str:
        return Text("odd")


class Liar(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise asyncio.CancelledError


def noted() -> Exception:
    error = ValueError("noted")
    error.__notes__ = 7  # type: ignore[assignment]
    return error


def chained() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


ERRORS: dict[str, Callable[[], BaseException]] = {
    "no text": Mute,
    "its text cancels": Cancels,
    "its text has no end": Endless,
    "an odd class": Odd,
    "no traceback": Odder,
    "no class": Liar,
    "odd notes": noted,
    "a circle": chained,
    "a large text": lambda: ValueError("x" * 10_000_000),
    "no Unicode": lambda: ValueError("\ud800\x00"),
    "a cancellation": asyncio.CancelledError,
    "a generator's end": GeneratorExit,
    "an iterator's end": StopIteration,
    "an asynchronous iterator's end": StopAsyncIteration,
    "a group": lambda: BaseExceptionGroup("group", [GeneratorExit(), ExceptionGroup("inner", [Mute()])]),
    "a large group": lambda: ExceptionGroup("group", [ValueError(str(number)) for number in range(10_000)]),
    "a base exception": lambda: BaseException("base"),
    "no memory": MemoryError,
    "a timeout": TimeoutError,
    "a wait that is no time": lambda: Retry("odd", after="soon"),  # type: ignore[arg-type]
    "a negative wait": lambda: Retry("odd", after=timedelta(days=-1)),
}


def deep() -> None:
    deep()


@pytest.fixture(params=["plain", "async"])
def in_style(request: pytest.FixtureRequest) -> Callable[[Callable[[Ordered], Any]], Any]:
    """Makes a handler of a function, plain or `async`."""
    if request.param == "plain":
        return lambda function: function

    def make(function: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
        async def handle(event: Any) -> Any:
            await asyncio.sleep(0)
            return function(event)

        return handle

    return make


InStyle = Callable[[Callable[[Ordered], Any]], Any]


async def dead_letters_of(store: Store, handler: Any) -> list[dict[str, str]]:
    """What becomes of an event that this handler is given, before and behind others that are handled."""
    await publish_orders(store, "good", "bad", "fine")
    await run_until_idle(store, Consumer(store, router_for(handler)), timeout=30)
    return await letters(store)


def only_bad(what: Callable[[], Any], handled: list[str]) -> Callable[[Ordered], Any]:
    def handle(order: Ordered) -> Any:
        if order.order_id == "bad":
            return what()
        handled.append(order.order_id)
        return Transaction()

    return handle


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
async def test_whatever_is_raised_becomes_a_letter(
    make: Callable[[], BaseException], in_style: InStyle, store: Store
) -> None:
    def fail() -> None:
        raise make()

    handled: list[str] = []
    [letter] = await dead_letters_of(store, in_style(only_bad(fail, handled)))
    assert letter["reason"] == "attempts_exhausted"
    assert '"orderId":"bad"' in letter["event"]
    assert sorted(handled) == ["fine", "good"]


async def test_a_handler_without_an_end_to_its_calls_becomes_a_letter(in_style: InStyle, store: Store) -> None:
    [letter] = await dead_letters_of(store, in_style(only_bad(deep, [])))
    assert letter["errorType"] == "RecursionError"


def broken() -> Iterator[Any]:
    yield from ()
    raise RuntimeError("broken")


class Decision(Transaction, frozen=True):
    """A class of somebody's own."""

    @property
    def is_empty(self) -> bool:
        raise RuntimeError("is it?")


async def nothing() -> None:
    pass


RETURNED: dict[str, Callable[[], Any]] = {
    "a coroutine": nothing,
    "no transaction": object,
    "writes that can't be read": lambda: Transaction(then=broken()),  # type: ignore[arg-type]
    "writes that are none": lambda: Transaction(then=[object()]),  # type: ignore[list-item]
    "no writes": lambda: Transaction(then=None),  # type: ignore[arg-type]
    "guards that are none": lambda: Transaction(when=["x"]),  # type: ignore[list-item]
    "counts that can't be read": lambda: Transaction(counts=broken()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("make", RETURNED.values(), ids=RETURNED)
async def test_whatever_else_is_returned_becomes_a_letter(
    make: Callable[[], Any], in_style: InStyle, store: Store
) -> None:
    handled: list[str] = []
    assert len(await dead_letters_of(store, in_style(only_bad(make, handled)))) == 1
    assert sorted(handled) == ["fine", "good"]


async def test_a_transaction_of_a_class_of_ones_own_is_taken_by_its_parts(in_style: InStyle, store: Store) -> None:
    assert await dead_letters_of(store, in_style(only_bad(Decision, []))) == []


@pytest.mark.parametrize("said", [None, 7, "", nothing, lambda: Transaction(then=7)])  # type: ignore[arg-type]
async def test_an_odd_word_of_otherwise_becomes_a_letter(said: Any, store: Store) -> None:
    def otherwise(found: object) -> Any:
        return said() if callable(said) else said

    decision = Transaction(when=[Hash("h")["a"].present()], otherwise=otherwise)
    [letter] = await dead_letters_of(store, only_bad(lambda: decision, []))
    assert letter["errorType"] == "TypeError"


async def test_otherwise_may_raise_what_is_no_exception(store: Store) -> None:
    def otherwise(found: object) -> Never:
        raise asyncio.CancelledError

    decision = Transaction(when=[Hash("h")["a"].present()], otherwise=otherwise)
    assert len(await dead_letters_of(store, only_bad(lambda: decision, []))) == 1


async def test_a_handler_that_cancels_its_own_task_becomes_a_letter(store: Store) -> None:
    async def handle(order: Ordered) -> Transaction:
        if order.order_id == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return Transaction()

    [letter] = await dead_letters_of(store, handle)
    assert letter["errorType"] == "CancelledError"


async def test_a_shared_task_that_its_owner_cancels_fails_who_awaits_it(store: Store) -> None:
    async def handle(order: Ordered) -> Transaction:
        if order.order_id == "bad":
            shared = asyncio.create_task(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(shared.cancel)
            await shared
        return Transaction()

    [letter] = await dead_letters_of(store, handle)
    assert letter["error"] == "the handler was cancelled, and not by its consumer"


async def test_a_handler_that_does_not_end_when_cancelled_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "CLEANING_SECONDS", 0.05)
    enough = asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        while order.order_id == "bad" and not enough.is_set():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await enough.wait()
        return Transaction()

    await publish_orders(store, "good", "bad", "fine")
    consumer = Consumer(store, router_for(handle, timeout=timedelta(seconds=0.05)))
    with caplog.at_level(logging.CRITICAL, "eventcore.consume.handler_task"):
        async with consuming(consumer):
            await until_idle(store, consumer)
    [letter] = await letters(store)
    assert letter["errorType"] == "TimeoutError"
    assert len(running._LEFT_RUNNING) == 3
    enough.set()
    await until(lambda: not running._LEFT_RUNNING)


async def test_a_handler_that_finishes_although_it_is_cancelled_has_decided(store: Store) -> None:
    async def handle(order: Ordered) -> Transaction:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return Transaction()
        raise AssertionError("not cancelled")

    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handle, timeout=timedelta(seconds=0.05))))
    assert await letters(store) == []


async def test_a_wait_without_an_end_is_bounded(store: Store) -> None:
    def handle(order: Ordered) -> Transaction:
        raise Unavailable("for ever", retry_after=timedelta.max)

    await publish_orders(store, 1)
    aside, now = store.key(aside_key(STREAM, GROUP)), time.time()
    async with consuming(Consumer(store, router_for(handle))):
        await until(partial(store.redis.zcard, aside))
        [(_, due)] = await store.redis.zrange(aside, 0, 0, withscores=True)
    assert due / 1000 < now + 2 * 86_400
    await store.redis.delete(aside, store.key(aside_entries_key(STREAM, GROUP)))


def handle_old(data: dict[str, Any]) -> Any:
    if data.get("value") == "upcast":
        raise Mute
    if data.get("value") == "cancel":
        raise asyncio.CancelledError
    return data if data.get("value") != "none" else None


class Strange(Event, type="sample.strange", version="2.0", stream=STREAM, upcasters={1: handle_old}):
    value: str

    def lane_key(self) -> Any:
        if self.value == "lane":
            raise asyncio.CancelledError
        return {"list": [1], "number": 7, "text": Text("x")}.get(self.value)


@pytest.mark.parametrize("value", ["lane", "list", "number", "text"])
async def test_an_odd_lane_stops_nobody(value: str, in_style: InStyle, store: Store) -> None:
    handled: list[str] = []
    router = Router(group=GROUP, retry=EAGER)
    router.on(Strange)(in_style(noting(handled, lambda event: event.value)))
    await store.publish_all([Strange(value="a"), Strange(value=value), Strange(value="b")])
    await run_until_idle(store, Consumer(store, router))
    assert sorted(handled) == sorted(["a", "b", *([value] if value != "lane" else [])])
    assert len(await letters(store)) == (value == "lane")


@pytest.mark.parametrize("value", ["upcast", "cancel", "none"])
async def test_an_odd_upcaster_stops_nobody(value: str, store: Store) -> None:
    handled: list[str] = []
    router = Router(group=GROUP, retry=EAGER)
    router.on(Strange)(noting(handled, lambda event: event.value))
    metadata = {"eventId": "1", "timestamp": "2026-01-01"}
    old = {"type": "sample.strange", "data": {"value": value}, "metadata": metadata}
    await store.redis.xadd(store.key(STREAM), {"event": json.dumps(old)})
    await store.publish(Strange(value="b"))
    await run_until_idle(store, Consumer(store, router))
    assert handled == ["b"]
    assert len(await letters(store)) == 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_process_ends_it(error: type[BaseException]) -> None:
    def handle(order: Ordered) -> Transaction:
        raise error

    decider = Decider(
        router_for(handle),
        consumer="c",
        source="s",
        dead_letter_cap=1,
        rollout=timedelta(0),
        holding=Holding(GROUP, limit=1, waiting_limit=1),
        concurrency=1,
    )
    event = b'{"type":"sample.ordered","data":{"orderId":"1"},"metadata":{"eventId":"1","timestamp":"2026-01-01"}}'
    with pytest.raises(error):
        decider.decide(Delivery(STREAM, "1-1", 1, {b"event": event}, 0.0))


async def test_a_failure_that_can_not_be_judged_is_tried_again_and_dead_lettered(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last resort: what a defect of eventcore's own does to judging must not keep a delivery for ever."""

    def defect(*given: object, **named: object) -> Never:
        raise ValueError("year 58000 is out of range")

    monkeypatch.setattr("eventcore.consume.deciding.judge", defect)
    monkeypatch.setattr("eventcore.consume.deciding.RetryPolicy", lambda: EAGER)

    def fail(order: Ordered) -> Transaction:
        raise Undecodable("no")

    await publish_orders(store, 1)
    with caplog.at_level(logging.ERROR):
        await run_until_idle(store, Consumer(store, router_for(fail)))
    [letter] = await letters(store)
    assert (letter["errorType"], letter["attempts"], letter["group"]) == ("Undecodable", "3", GROUP)
    assert (
        "can't judge a failed attempt, so the default retry policy holds: ValueError: year 58000 is out of range"
        in caplog.text
    )
    assert "dead-lettered (attempts_exhausted): Undecodable: no" in caplog.messages
