"""The rules of reservation, without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    Line,
    OrderCancelled,
    OrderCreated,
    Reason,
    Shortage,
)
from eventcore import Event, Transaction, publish
from inventory_service.domain.reservation import release, reservation, reserve
from inventory_service.domain.stock import available, put, reserved, stock_index
from libs.contracts.tests.memory import Memory, fields_put, interleaved
from services.inventory.tests.orders import cancelled, created, ordered

KEEP = timedelta(days=30)


def stocked(**levels: int) -> Memory:
    memory = Memory()
    memory.commit(put(levels))
    return memory


def decide(event: Event) -> Transaction:
    return reserve(event, keep=KEEP) if isinstance(event, OrderCreated) else release(_cancelled(event), keep=KEEP)


def _cancelled(event: Event) -> OrderCancelled:
    assert isinstance(event, OrderCancelled)
    return event


def about(event: Event) -> str:
    """Its order: all events of the shop have one."""
    return str(event.model_dump()["order_id"])


def levels(memory: Memory, product: str) -> tuple[int, int]:
    return memory.number(available(product)), memory.number(reserved(product))


def status(memory: Memory, order_id: str = "1") -> str | None:
    return memory.look(reservation(order_id)["status"])


def test_a_whole_order_is_put_aside_and_its_event_says_so() -> None:
    memory = stocked(tea=5, milk=1)
    [event] = memory.commit(decide(ordered(tea=2, milk=1)))
    assert event == InventoryReserved(
        order_id="1",
        items=(Line(product_id="tea", quantity=2), Line(product_id="milk", quantity=1)),
        customer_id="VINET",
        email="vinet@example.com",
    )
    assert (levels(memory, "tea"), levels(memory, "milk")) == ((3, 2), (0, 1))
    assert status(memory) == "reserved"


def test_stock_reservation_and_event_are_one_transaction() -> None:
    transaction = reserve(ordered(tea=2), keep=KEEP)
    assert transaction.when == [reservation("1")["status"].absent(), available("tea") >= 2]
    assert available("tea").add(-2) in transaction.then
    assert reserved("tea").add(2) in transaction.then
    assert fields_put(transaction, reservation("1"))["status"] == "reserved"
    assert publish(InventoryReserved(**dict(ordered(tea=2)))) in transaction.then


def test_an_order_that_is_short_of_anything_takes_nothing() -> None:
    memory = stocked(tea=5, milk=1)
    [event] = memory.commit(decide(ordered(tea=2, milk=2)))
    assert isinstance(event, InventoryRejected)
    assert event.reason == Reason.OUT_OF_STOCK
    assert event.shortages == (Shortage(product_id="milk", requested=2, available=1),)
    assert (event.customer_id, event.email) == ("VINET", "vinet@example.com")
    assert (levels(memory, "tea"), levels(memory, "milk")) == ((5, 0), (1, 0))
    assert status(memory) == "rejected"


def test_lines_of_one_product_add_up() -> None:
    memory = stocked(tea=5)
    [event] = memory.commit(decide(created("1", ("tea", 3), ("tea", 3))))
    assert isinstance(event, InventoryRejected)
    assert event.shortages == (Shortage(product_id="tea", requested=6, available=5),)
    [event] = memory.commit(decide(created("2", ("tea", 3), ("tea", 2))))
    assert isinstance(event, InventoryReserved)
    assert len(event.items) == 2
    assert levels(memory, "tea") == (0, 5)


def test_every_short_product_is_named_and_an_unknown_one_is_the_reason() -> None:
    memory = stocked(tea=1, milk=9)
    [event] = memory.commit(decide(ordered(tea=2, cake=3, milk=9)))
    assert isinstance(event, InventoryRejected)
    assert event.reason == Reason.UNKNOWN_PRODUCT
    assert event.shortages == (
        Shortage(product_id="tea", requested=2, available=1),
        Shortage(product_id="cake", requested=3, available=0),
    )


def test_a_product_that_is_sold_out_is_not_unknown() -> None:
    [event] = stocked(tea=0).commit(decide(ordered(tea=1)))
    assert isinstance(event, InventoryRejected)
    assert event.reason == Reason.OUT_OF_STOCK


@pytest.mark.parametrize("tea", [5, 1])
def test_the_same_order_twice_changes_nothing_the_second_time(tea: int) -> None:
    memory = stocked(tea=tea)
    memory.commit(decide(ordered(tea=2)))
    before = memory.state()
    assert memory.commit(decide(ordered(tea=2))) == []
    assert memory.state() == before


def test_a_cancelled_order_gives_everything_back() -> None:
    memory = stocked(tea=5)
    memory.commit(decide(created("1", ("tea", 2), ("tea", 1))))
    [event] = memory.commit(decide(cancelled()))
    assert event == InventoryReleased(**dict(created("1", ("tea", 2), ("tea", 1))))
    assert levels(memory, "tea") == (5, 0)
    assert status(memory) == "released"


def test_a_cancellation_that_overtakes_its_order_leads_to_a_rejection() -> None:
    memory = stocked(tea=5)
    assert memory.commit(decide(cancelled())) == []
    [event] = memory.commit(decide(ordered(tea=2)))
    assert isinstance(event, InventoryRejected)
    assert (event.reason, event.shortages) == (Reason.ORDER_CANCELLED, ())
    assert levels(memory, "tea") == (5, 0)
    assert status(memory) == "rejected"


@pytest.mark.parametrize(
    "before", [[cancelled()], [ordered(tea=9)], [ordered(tea=1), cancelled()]], ids=["mark", "rejected", "released"]
)
def test_cancelling_what_is_not_reserved_changes_nothing(before: list[Event]) -> None:
    memory = stocked(tea=5)
    for event in before:
        memory.commit(decide(event))
    state = memory.state()
    assert memory.commit(decide(cancelled())) == []
    assert memory.state() == state


def test_whatever_is_kept_of_an_order_vanishes_some_day() -> None:
    memory = stocked(tea=5)
    for event in (ordered("1", tea=2), ordered("2", tea=9), cancelled("3"), ordered("4", tea=1), cancelled("4")):
        memory.commit(decide(event))
    orders = {reservation(order_id).key for order_id in "1234"}
    assert memory.ttls == dict.fromkeys(orders, KEEP)
    assert memory.hashes.keys() - memory.ttls.keys() == {"stock"}


def test_putting_stock_leaves_alone_what_is_put_aside() -> None:
    memory = stocked(tea=5)
    memory.commit(decide(ordered(tea=2)))
    memory.commit(put({"tea": 10, "cake": 1}))
    assert (levels(memory, "tea"), levels(memory, "cake")) == ((10, 2), (1, 0))
    assert memory.sets[stock_index.key] == {"tea", "cake"}


EVENTS = (ordered("1", tea=2), ordered("1", tea=2), cancelled("1"), cancelled("1"))


@pytest.mark.parametrize("tea", [2, 1])
@pytest.mark.parametrize("events", [EVENTS, (*EVENTS[:3], ordered("2", tea=1), cancelled("2"))], ids=["one", "two"])
def test_whoever_is_faster_the_end_is_the_same(tea: int, events: Iterable[Event]) -> None:
    ends = list(interleaved(stocked(tea=tea), map(decide, events)))
    assert ends
    for memory in ends:
        assert levels(memory, "tea") == (tea, 0)
        for order_id in {about(each) for each in events}:
            told = [type(event) for event in memory.published if about(event) == order_id]
            assert told in ([InventoryReserved, InventoryReleased], [InventoryRejected])
            assert status(memory, order_id) == ("released" if InventoryReleased in told else "rejected")


def test_the_last_piece_goes_to_exactly_one_of_two() -> None:
    for memory in interleaved(stocked(tea=3), map(decide, (ordered("1", tea=2), ordered("2", tea=2)))):
        assert levels(memory, "tea") == (1, 2)
        assert {status(memory, "1"), status(memory, "2")} == {"reserved", "rejected"}


def test_delivered_one_after_another_in_any_order_a_cancelled_order_holds_nothing() -> None:
    for events in permutations(EVENTS):
        memory = stocked(tea=2)
        for event in events:
            memory.commit(decide(event))
        assert levels(memory, "tea") == (2, 0)


PRODUCTS = ("tea", "milk", "cake")
LINES = st.lists(st.tuples(st.sampled_from((*PRODUCTS, "unknown")), st.integers(1, 4)), min_size=1, max_size=4)
ORDER_IDS = st.sampled_from("1234567")
STORIES = st.lists(
    st.one_of(st.builds(lambda i, lines: created(i, *lines), ORDER_IDS, LINES), ORDER_IDS.map(cancelled))
)
LEVELS = st.fixed_dictionaries({product: st.integers(0, 12) for product in PRODUCTS})


@given(LEVELS, STORIES)
def test_stock_is_conserved_and_each_order_gets_what_serving_one_after_another_gives(
    levels_before: dict[str, int], story: list[OrderCreated | OrderCancelled]
) -> None:
    memory, free = stocked(**levels_before), Counter(levels_before)
    held: dict[str, Counter[str]] = {}  # by order; empty for one that got nothing
    for event in story:
        memory.commit(decide(event))
        if isinstance(event, OrderCancelled):
            free.update(held.get(event.order_id, Counter()))
            held[event.order_id] = Counter()
        elif event.order_id not in held:
            wanted = Counter[str]()
            for line in event.items:
                wanted[line.product_id] += line.quantity
            held[event.order_id] = wanted if wanted <= free else Counter()
            free.subtract(held[event.order_id])
        for product in PRODUCTS:
            assert levels(memory, product) == (free[product], sum(each[product] for each in held.values()))
            assert sum(levels(memory, product)) == levels_before[product]
