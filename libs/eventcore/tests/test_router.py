"""Routers: what would go wrong with a handler later is found when it is registered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from eventcore import Metadata, RetryPolicy, Router, Transaction, publish
from eventcore.consume.router import united

from .samples import STREAM, Ordered, Shipped

METADATA = Metadata(event_id="e-1", timestamp=datetime.now(UTC))
ORDER = Ordered(order_id="7")


def noted(text: str) -> Transaction:
    return Transaction(then=[publish(ORDER, event_id=text)])


def takes_the_event(order: Ordered | Shipped) -> Transaction:
    return noted(order.order_id)


def takes_both(order: Ordered | Shipped, metadata: Metadata) -> Transaction:
    return noted(f"{order.order_id} {metadata.event_id}")


def takes_more_by_choice(order: Ordered, *, clock: str = "wall") -> Transaction:
    return noted(f"{order.order_id} {clock}")


def takes_a_default(order: Ordered, clock: str = "wall") -> Transaction:
    return noted(f"{order.order_id} {clock}")


def takes_anything(*arguments: object) -> Transaction:
    return noted(f"{len(arguments)}")


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def handle(self, order: Ordered) -> Transaction:
        self.calls += 1
        return noted(f"{order.order_id} {self.calls}")

    async def __call__(self, order: Ordered) -> Transaction:
        return Transaction()


def register(function: Callable[..., Any]) -> Router:
    router = Router(group="g")
    router.on(Ordered)(function)
    return router


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (takes_the_event, "7"),
        (takes_both, "7 e-1"),
        (takes_more_by_choice, "7 wall"),
        (takes_a_default, "7 wall"),
        (takes_anything, "1"),
        (Counter().handle, "7 1"),
        (partial(takes_more_by_choice, clock="sun"), "7 sun"),
        (lambda order: noted(order.order_id), "7"),
    ],
)
def test_a_handler_is_given_the_event_and_its_metadata_if_it_asks(function: Callable[..., Any], answer: str) -> None:
    handler: Any = register(function).handlers["sample.ordered"]
    assert handler(ORDER, METADATA) == noted(answer)


def test_a_second_handler_for_one_event_is_refused() -> None:
    router = register(takes_the_event)
    with pytest.raises(TypeError, match=r"g already has a handler for sample\.ordered"):
        router.on(Ordered)(takes_both)


def test_a_router_reads_the_streams_of_its_events() -> None:
    router = register(takes_the_event)
    router.on(Shipped)(takes_the_event)
    assert router.streams == (STREAM, "shipments_stream")


def test_the_nearest_class_of_an_error_chooses_the_retry_policy() -> None:
    general, lookups, keys = RetryPolicy(2), RetryPolicy(3), RetryPolicy(4)
    router = Router(group="g", retry=general)
    router.on(Ordered, retry_for={LookupError: lookups, KeyError: keys})(takes_the_event)
    handler = router.handlers["sample.ordered"]

    assert handler.policy(KeyError("x")) is keys
    assert handler.policy(IndexError("x")) is lookups
    assert handler.policy(ValueError("x")) is general
    assert handler.most_attempts == 4


def test_a_handler_has_its_own_policy_and_timeout_or_those_of_the_router() -> None:
    router = Router(group="g", retry=RetryPolicy(2), timeout=timedelta(seconds=3))
    router.on(Ordered)(takes_the_event)
    router.on(Shipped, retry=RetryPolicy(9), timeout=timedelta(seconds=4))(takes_the_event)

    assert router.handlers["sample.ordered"].retry == RetryPolicy(2)
    assert router.handlers["sample.ordered"].timeout == timedelta(seconds=3)
    assert router.handlers["sample.shipped"].retry == RetryPolicy(9)
    assert router.handlers["sample.shipped"].timeout == timedelta(seconds=4)


def test_routers_of_one_group_are_one_and_keep_their_own_patience() -> None:
    patient, plain, other = Router("g", RetryPolicy(9), timedelta(minutes=1)), Router("g"), Router("h")
    patient.on(Ordered)(takes_the_event)
    plain.on(Shipped)(takes_both)
    other.on(Ordered)(takes_both)

    one, two = united([patient, other, plain], retry=RetryPolicy(2))
    assert (one.group, two.group) == ("g", "h")
    assert {kind: handler.retry for kind, handler in one.handlers.items()} == {
        "sample.ordered": RetryPolicy(9),
        "sample.shipped": RetryPolicy(2),
    }
    assert one.handlers["sample.ordered"].timeout == timedelta(minutes=1)
    assert one.streams == (STREAM, "shipments_stream")


def test_two_handlers_of_one_event_in_two_routers_of_a_group_are_refused_by_their_names() -> None:
    with pytest.raises(TypeError, match=r"g has two handlers for sample\.ordered: .*takes_the_event and .*takes_both"):
        united([register(takes_the_event), register(takes_both)], retry=RetryPolicy())


def test_a_handler_that_comes_after_its_consumer_is_refused() -> None:
    router = register(takes_the_event)
    united([router], retry=RetryPolicy())
    with pytest.raises(TypeError, match=r"too late for a handler for sample\.shipped"):
        router.on(Shipped)(takes_the_event)


def test_a_router_without_handlers_is_refused() -> None:
    with pytest.raises(TypeError, match="g has no handlers"):
        united([Router(group="g")], retry=RetryPolicy())


@pytest.mark.parametrize("time", [timedelta(0), timedelta(seconds=-1), timedelta.max])
def test_a_time_that_nobody_can_wait_for_is_refused_where_it_is_declared(time: timedelta) -> None:
    for name in ("timeout", "give_up_after"):
        with pytest.raises(ValueError, match=f"g: {name} must be more than 0 and at most 730 days"):
            Router(group="g", **{name: time})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"g, sample\.ordered: timeout must be more than 0"):
        Router(group="g").on(Ordered, timeout=time)
