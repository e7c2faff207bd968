"""How an order goes on, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations, product

import pytest

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelled, Reason
from eventcore import Event, Transaction
from libs.contracts.tests.memory import Memory, interleaved
from order_service.domain.order import Order, index, order
from order_service.domain.placing import place
from order_service.domain.progress import NotCancellable, UnknownOrder, cancel, close, confirm, reject
from order_service.domain.status import OrderStatus, may_follow
from services.order.tests.orders import NEVER_TRIED, PLACED_AT, REJECTED, RELEASED, RESERVED, SHORT, an_order

KEEP = timedelta(days=30)
LATER = "2026-11-23T10:00:01.000Z"

Wish = str
CANCEL: Wish = "cancel"


def placed() -> Memory:
    memory = Memory()
    memory.commit(place(an_order(), None, keep=KEEP))
    memory.published.clear()
    return memory


def decide(step: Event | Wish) -> Transaction:
    match step:
        case InventoryReserved():
            return confirm(step, at=LATER, keep=KEEP)
        case InventoryRejected():
            return reject(step, at=LATER, keep=KEEP)
        case InventoryReleased():
            return close(step, at=LATER, keep=KEEP)
    return cancel("1", at=LATER, keep=KEEP)


def after(*steps: Event | Wish) -> Memory:
    memory = placed()
    for step in steps:
        memory.commit(decide(step))
    return memory


def the_order(memory: Memory) -> Order:
    return Order.read("1", memory.hashes[order("1").key])


def status(memory: Memory) -> str:
    return the_order(memory).status


def test_the_table_of_statuses() -> None:
    allowed = {pair for pair in product(OrderStatus, OrderStatus) if may_follow(*pair)}
    assert allowed == {
        (OrderStatus.PROCESSING, OrderStatus.CONFIRMED),
        (OrderStatus.PROCESSING, OrderStatus.REJECTED),
        (OrderStatus.PROCESSING, OrderStatus.CANCELLED),
        (OrderStatus.CONFIRMED, OrderStatus.CANCELLED),
    }
    assert not any(may_follow("unheard-of", to) for to in OrderStatus)


ENDS: dict[str, tuple[list[Event | Wish], str]] = {
    "nothing heard yet": ([], "processing"),
    "reserved": ([RESERVED], "confirmed"),
    "rejected": ([REJECTED], "rejected"),
    "never tried": ([NEVER_TRIED], "cancelled"),
    "released": ([RELEASED], "cancelled"),
    "reserved, released": ([RESERVED, RELEASED], "cancelled"),
    "released, reserved": ([RELEASED, RESERVED], "cancelled"),
    "reserved, cancelled": ([RESERVED, CANCEL], "cancelled"),
    "cancelled, reserved": ([CANCEL, RESERVED], "cancelled"),
    "cancelled, rejected": ([CANCEL, REJECTED], "cancelled"),
    "cancelled, never tried": ([CANCEL, NEVER_TRIED], "cancelled"),
    "cancelled, reserved, released": ([CANCEL, RESERVED, RELEASED], "cancelled"),
}


@pytest.mark.parametrize(("steps", "end"), ENDS.values(), ids=ENDS)
def test_an_order_ends_where_it_must(steps: list[Event | Wish], end: str) -> None:
    memory = after(*steps)
    assert status(memory) == end
    indexes = {key: members for key, members in memory.sets.items() if members}
    assert indexes == {index(OrderStatus(end)).key: {"1"}}


def test_every_step_says_when_and_keeps_the_order_a_while_longer() -> None:
    memory = placed()
    memory.ttls.clear()
    memory.commit(decide(RESERVED))
    assert the_order(memory).updated_at == LATER
    assert the_order(memory).created_at == PLACED_AT
    assert memory.ttls == {order("1").key: KEEP}


def test_a_rejected_order_says_why() -> None:
    rejected = the_order(after(REJECTED))
    assert (rejected.reason, rejected.shortages) == (Reason.OUT_OF_STOCK, (SHORT,))
    never_tried = the_order(after(NEVER_TRIED))
    assert (never_tried.reason, never_tried.shortages) == (Reason.ORDER_CANCELLED, None)


EVENTS = {"reserved": RESERVED, "rejected": REJECTED, "never tried": NEVER_TRIED, "released": RELEASED}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_an_event_of_an_order_that_is_not_ours_changes_nothing(event: Event) -> None:
    memory = Memory()
    assert memory.commit(decide(event)) == []
    assert memory.state() == Memory().state()


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_an_event_twice_changes_nothing_the_second_time(event: Event) -> None:
    memory = after(event)
    before = memory.state()
    memory.commit(decide(event))
    assert memory.state() == before


@pytest.mark.parametrize("before", [[], [RESERVED]], ids=["processing", "confirmed"])
def test_cancelling_publishes_one_event_however_often_it_is_asked(before: list[Event]) -> None:
    memory = after(*before, CANCEL, CANCEL)
    assert memory.published == [OrderCancelled(order_id="1")]
    assert status(memory) == "cancelled"


def test_a_rejected_order_can_not_be_cancelled() -> None:
    memory = after(REJECTED)
    before = memory.state()
    with pytest.raises(NotCancellable):
        memory.commit(decide(CANCEL))
    assert memory.state() == before


def test_an_order_that_does_not_exist_can_not_be_cancelled() -> None:
    with pytest.raises(UnknownOrder):
        Memory().commit(decide(CANCEL))


# Each story ends with a cancelled order; they differ in how far the inventory had come.
STORIES = {
    "put aside, then given back": (RESERVED, RESERVED, RELEASED, CANCEL, CANCEL),
    "never tried": (NEVER_TRIED, CANCEL, NEVER_TRIED),
    "cancelled by another program": (RESERVED, RELEASED, RELEASED),
}


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES)
def test_in_whatever_order_the_events_come_the_end_is_the_same(steps: Iterable[Event | Wish]) -> None:
    for order_of_steps in permutations(steps):
        memory = after(*order_of_steps)
        assert status(memory) == "cancelled"
        assert len(memory.published) <= 1


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES)
def test_whoever_is_faster_the_end_is_the_same(steps: Iterable[Event | Wish]) -> None:
    ends = list(interleaved(placed(), map(decide, steps)))
    assert {status(memory) for memory in ends} == {"cancelled"}
    assert max(len(memory.published) for memory in ends) <= 1


def test_of_a_cancellation_and_a_rejection_the_faster_one_wins() -> None:
    ends = interleaved(placed(), [decide(CANCEL), decide(REJECTED)], refusals=(NotCancellable,))
    assert {(status(memory), len(memory.published)) for memory in ends} == {("cancelled", 1), ("rejected", 0)}
