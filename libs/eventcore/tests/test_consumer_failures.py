"""What fails is tried again, and what can't succeed becomes a dead letter that explains itself."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, cast

import pytest

from eventcore import (
    Consumer,
    Event,
    Hash,
    Reject,
    Retry,
    RetryPolicy,
    Router,
    Store,
    Transaction,
    Unavailable,
    publish,
    telemetry,
)
from eventcore.testing import run_until_idle, running, until, until_idle
from eventcore.testing.fixtures import Connect

from .samples import (
    DEAD_LETTERS,
    EAGER,
    GROUP,
    STREAM,
    Ordered,
    acknowledge,
    noting,
    pending,
    publish_orders,
    router_for,
)

Handler = Callable[[Ordered], Transaction]


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("text",)


class Script:
    """A handler that raises these errors one after another, and then succeeds."""

    def __init__(self, errors: Iterable[Exception]) -> None:
        self.errors, self.calls = iter(errors), list[float]()

    def __call__(self, order: Ordered) -> Transaction:
        self.calls.append(time.monotonic())
        for error in self.errors:
            raise error
        return Transaction()


async def letters(store: Store) -> list[dict[str, str]]:
    rows = await store.redis.xrange(store.key(DEAD_LETTERS)) or ()
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]


async def test_a_failed_attempt_is_followed_by_another(store: Store) -> None:
    handler = Script([ValueError("once"), KeyError("twice")])
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handler)))
    assert len(handler.calls) == 3
    assert await letters(store) == []


async def test_what_is_logged_of_an_entry_that_nobody_can_read_does_not_name_the_one_before(store: Store) -> None:
    said: list[tuple[str, dict[str, str]]] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((record.getMessage(), telemetry.logs.ids()))

    await publish_orders(store, 1)
    unread = (await store.redis.xadd(STREAM, {"event": b"{"})).decode()
    log, listening = logging.getLogger("eventcore"), Listening()
    log.addHandler(listening)
    try:
        await run_until_idle(store, Consumer(store, router_for(acknowledge)))
    finally:
        log.removeHandler(listening)
    assert [ids for message, ids in said if message.startswith("dead-lettered")] == [{"entryId": unread}]


async def test_when_attempts_are_spent_there_is_a_letter_that_explains_itself(store: Store) -> None:
    def fail(order: Ordered) -> Transaction:
        raise ValueError(f"no luck with {order.order_id}")

    entry_id = await store.publish(Ordered(order_id="7"), event_id="e-7")
    await run_until_idle(store, Consumer(store, router_for(fail)))

    [letter] = await letters(store)
    [(_, stored)] = await store.redis.xrange(STREAM)
    assert letter.pop("event") == stored[b"event"].decode()
    assert "ValueError: no luck with 7" in letter.pop("traceback")
    assert letter.pop("firstSeen") <= letter.pop("failedAt")
    metadata = json.loads(stored[b"event"])["metadata"]
    assert letter == {
        "reason": "attempts_exhausted",
        "errorType": "ValueError",
        "error": "no luck with 7",
        "attempts": "3",
        "stream": STREAM,
        "entryId": entry_id,
        "group": GROUP,
        "consumer": "pod-1",
        "type": "sample.ordered",
        "eventId": "e-7",
        "correlationId": metadata["correlationId"],
        "traceparent": metadata["traceparent"],
    }


async def test_a_rejected_event_gets_no_other_attempt(store: Store) -> None:
    handler = Script([Reject("unknown customer")])
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handler)))
    [letter] = await letters(store)
    assert (letter["reason"], letter["error"], letter["attempts"]) == ("rejected", "unknown customer", "1")
    assert len(handler.calls) == 1


async def test_a_handler_that_asks_for_time_gets_it(store: Store) -> None:
    handler = Script([Retry("not yet", after=timedelta(seconds=0.3))])
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handler)))
    first, second = handler.calls
    assert 0.3 <= second - first < 3


async def test_what_is_out_of_reach_costs_no_attempt(store: Store) -> None:
    """Of three attempts two are left for other failures after ten times without the mail server."""
    handler = Script([*[Unavailable("mail server") for _ in range(10)], ValueError("once"), ValueError("twice")])
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(handler)))
    assert len(handler.calls) == 13
    assert await letters(store) == []


async def test_what_is_out_of_reach_for_too_long_is_dead_lettered_where_the_router_says_so(store: Store) -> None:
    router = Router(group=GROUP, retry=EAGER, give_up_after=timedelta(seconds=0.2))
    handler = Script(Unavailable("mail server") for _ in range(10_000))
    router.on(Ordered)(handler)
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router))
    [letter] = await letters(store)
    assert (letter["reason"], letter["error"], letter["attempts"]) == ("unavailable", "mail server", "1")
    assert handler.calls[-1] - handler.calls[0] >= 0.15


async def test_a_handler_that_takes_too_long_is_stopped_and_tried_again(store: Store) -> None:
    stopped = 0

    async def hang(order: Ordered) -> Transaction:
        nonlocal stopped
        try:
            await asyncio.sleep(60)
        finally:
            stopped += 1
        return Transaction()

    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(hang, timeout=timedelta(seconds=0.05))))
    [letter] = await letters(store)
    assert (letter["errorType"], letter["attempts"]) == ("TimeoutError", "3")
    assert letter["error"] == "the handler did not finish within 0.05 s"
    assert stopped == 3


async def test_a_timeout_of_the_handlers_own_is_not_taken_for_ours(store: Store) -> None:
    async def fail(order: Ordered) -> Transaction:
        raise TimeoutError("the mail server is slow")

    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(fail)))
    assert [letter["error"] for letter in await letters(store)] == ["the mail server is slow"]


@pytest.mark.parametrize("answer", ["text", 0, [], Transaction])
async def test_a_handler_that_returns_something_else_is_at_fault(answer: Any, store: Store) -> None:
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(lambda order: answer)))
    [letter] = await letters(store)
    assert letter["error"].startswith("a handler returns a Transaction, not ")


def plain_handler(order: Ordered) -> Transaction:
    return None  # type: ignore[return-value] # as where a branch forgets to return


async def async_handler(order: Ordered) -> Transaction:
    return None  # type: ignore[return-value] # as where a branch forgets to return


@pytest.mark.parametrize("forgets", [plain_handler, async_handler])
async def test_a_handler_that_promises_a_transaction_and_returns_none_is_at_fault(forgets: Any, store: Store) -> None:
    await publish_orders(store, 1)
    await run_until_idle(store, Consumer(store, router_for(forgets)))
    [letter] = await letters(store)
    assert letter["error"] == "a handler returns a Transaction, not NoneType"


async def test_a_handler_that_promises_nothing_may_return_none(store: Store) -> None:
    await publish_orders(store, 1)

    def note(order: Ordered) -> None: ...

    await run_until_idle(store, Consumer(store, router_for(cast("Any", note))))
    assert await letters(store) == []


@pytest.mark.parametrize(
    ("transaction", "error"),
    [
        (Transaction(when=[Hash("h")["a"].present()]), "GuardFailed"),
        (Transaction(then=[Hash("text")["a"].set(1)]), "Conflict"),
        (Transaction(then=[Hash("h")["a"].set("\ud800")]), "UnicodeEncodeError"),
        (Transaction(then=["not a write"]), "TypeError"),  # type: ignore[list-item]
        (Transaction(when=[Hash("h")["a"].present()], otherwise=lambda found: 1 / 0), "ZeroDivisionError"),  # type: ignore[arg-type, return-value]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_decision_that_can_not_be_committed_hurts_nobody_else(
    transaction: Transaction, error: str, store: Store
) -> None:
    await store.redis.set("text", "x")
    handled: list[str] = []

    def decide(order: Ordered) -> Transaction:
        handled.append(order.order_id)
        return transaction if order.order_id == "bad" else Transaction()

    await publish_orders(store, "good", "bad", "fine")
    await run_until_idle(store, Consumer(store, router_for(decide)))
    assert [letter["errorType"] for letter in await letters(store)] == [error]
    assert sorted(handled) == ["bad", "bad", "bad", "fine", "good"]


async def test_a_model_that_breaks_while_reading_hurts_nobody_else(store: Store) -> None:
    class Fragile(Event, type="sample.fragile", stream=STREAM):
        value: str

        def model_post_init(self, context: object) -> None:
            if reading and self.value == "bad":
                raise RuntimeError("broken model")

    reading, handled = False, list[str]()
    router = Router(group=GROUP, retry=EAGER)
    router.on(Fragile)(noting(handled, lambda event: event.value))
    await store.publish_all([Fragile(value=value) for value in ("good", "bad", "fine")])
    reading = True
    await run_until_idle(store, Consumer(store, router))
    assert handled == ["good", "fine"]
    assert [letter["error"] for letter in await letters(store)] == ["broken model"]


async def test_each_class_of_errors_has_its_own_policy(store: Store) -> None:
    def fail(order: Ordered) -> Transaction:
        raise KeyError("x") if order.order_id == "key" else ValueError("x")

    router = Router(group=GROUP, retry=EAGER)
    once = RetryPolicy(attempts=1)
    router.on(Ordered, retry_for={LookupError: once})(fail)
    await publish_orders(store, "key", "value")
    await run_until_idle(store, Consumer(store, router))
    assert {letter["errorType"]: letter["attempts"] for letter in await letters(store)} == {
        "KeyError": "1", "ValueError": "3"
    }  # fmt: skip


async def test_many_failures_at_once_pause_reading_and_reading_goes_on_when_they_are_over(connect: Connect) -> None:
    store = await connect(consumer_waiting=5, consumer_batch=5)
    mail_server_is_up, seen = False, set[str]()

    def send(order: Ordered) -> Transaction:
        seen.add(order.order_id)
        if not mail_server_is_up:
            raise Unavailable("mail server")
        return Transaction()

    consumer = Consumer(
        store, router_for(send, retry=RetryPolicy(base=timedelta(seconds=0.05), ceiling=timedelta(seconds=0.1)))
    )
    await publish_orders(store, *range(100))
    async with running(consumer):
        await until(lambda: "deliveries wait for another attempt, the first (sample.ordered " in str(consumer.problem))
        assert str(consumer.problem).endswith("s: Unavailable: mail server")
        handed_out = await pending(store)
        assert 5 <= handed_out < 25
        mail_server_is_up = True
        await until_idle(store, consumer)
    assert len(seen) == 100
    assert await letters(store) == []


async def test_commits_that_are_refused_are_a_problem_until_they_are_not(connect: Connect) -> None:
    class Shipped(Event, type="sample.shipped", stream="full_stream"):
        order_id: str

    def ship(order: Ordered) -> Transaction:
        return Transaction(then=[publish(Shipped(order_id=order.order_id))])

    store = await connect(stream_cap=3)
    await store.publish_all([Shipped(order_id="old")] * 3)
    await publish_orders(store, 1, 2)
    consumer = Consumer(store, router_for(ship))
    async with running(consumer):
        await until(lambda: consumer.problem == "commits are refused (2 wait): full_stream is at its hard cap")
        await store.redis.xtrim(store.key("full_stream"), maxlen=0, approximate=False)
        await until_idle(store, consumer)
        assert consumer.problem is None
    assert await letters(store) == []


async def test_a_newer_version_waits_for_a_rollout_and_is_then_dead_lettered(connect: Connect) -> None:
    class Newer(Event, type="sample.ordered", version="2.0", stream=STREAM, upcasters={1: dict}):
        order_id: str

    store, handled = await connect(rollout_seconds=0.3), list[str]()
    await store.publish(Newer(order_id="new"))
    await publish_orders(store, "old")
    started = time.monotonic()
    await run_until_idle(store, Consumer(store, router_for(noting(handled))))
    [letter] = await letters(store)
    assert letter["reason"] == "unsupported_version"
    assert handled == ["old"]
    assert time.monotonic() - started >= 0.25


async def test_a_newer_version_is_handled_once_a_newer_program_is_there(connect: Connect) -> None:
    class Newer(Event, type="sample.ordered", version="2.0", stream=STREAM, upcasters={1: dict}):
        order_id: str

    handled: list[str] = []
    store = await connect()
    await store.publish(Newer(order_id="new"))
    old = Consumer(store, router_for(acknowledge))
    async with running(old):
        await until(lambda: old.holding.waiting == 1)

    router = Router(group=GROUP)
    router.on(Newer)(noting(handled))
    await run_until_idle(store, Consumer(await connect(pod_name="pod-2"), router))
    assert handled == ["new"]


async def test_a_letter_that_can_not_be_written_is_written_later_and_nothing_spins(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.redis.set("text", "x")
    await store.redis.rename("text", DEAD_LETTERS)  # somebody's key stands where letters belong
    handler = Script([Reject("no") for _ in range(1000)])
    retry = RetryPolicy(attempts=3, base=timedelta(seconds=0.05), ceiling=timedelta(seconds=0.05))
    consumer = Consumer(store, router_for(handler, retry=retry))
    await publish_orders(store, 1)
    with caplog.at_level(logging.CRITICAL, "eventcore.consume.deciding"):
        async with running(consumer):
            await until(lambda: len(handler.calls) >= 3)
            assert await pending(store) == 1
            await store.redis.delete(DEAD_LETTERS)
            await until_idle(store, consumer)
    assert len(handler.calls) < 50
    assert [letter["reason"] for letter in await letters(store)] == ["rejected"]


async def test_dead_letters_are_capped(connect: Connect) -> None:
    store = await connect(dlq_keep_entries=100)
    await publish_orders(store, *range(500))
    await run_until_idle(store, Consumer(store, router_for(Script(Reject("no") for _ in range(500)))))
    assert 100 <= await store.redis.xlen(DEAD_LETTERS) < 300
