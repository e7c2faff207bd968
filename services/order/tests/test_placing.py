"""Placing an order, without a server."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts import OrderCreated
from eventcore import GuardFailed, Value, publish
from libs.contracts.tests.memory import Memory, fields_put
from order_service.domain.order import NewOrder, Order, index, order
from order_service.domain.placing import KeyReused, Once, fingerprint, place, placed_before
from order_service.domain.status import OrderStatus
from services.order.tests.orders import PLACED_AT, TEA, TRACE, an_order

KEEP = timedelta(days=30)
ONCE = Once(key="one", fingerprint="asked", remember=timedelta(hours=24))


def placed(memory: Memory, new: NewOrder, once: Once | None) -> str:
    """What the API does: the id of the order that this request stands for."""
    try:
        memory.commit(place(new, once, keep=KEEP))
    except GuardFailed as failed:
        return placed_before(failed.found, new, once)
    return new.id


def test_an_order_and_its_event_are_one_transaction() -> None:
    transaction = place(an_order(), None, keep=KEEP)
    assert transaction.when == [order("1")["status"].absent()]
    event = OrderCreated(order_id="1", items=TEA, customer_id="VINET", email="vinet@example.com")
    assert publish(event) in transaction.then
    assert fields_put(transaction, order("1"))["status"] == "processing"


def test_what_is_kept_of_an_order_reads_back_as_it_was() -> None:
    memory = Memory()
    memory.commit(place(an_order(), None, keep=KEEP))
    fields = memory.hashes[order("1").key]
    assert Order.read("1", fields) == Order(
        id="1",
        status=OrderStatus.PROCESSING,
        items=TEA,
        customer_id="VINET",
        email="vinet@example.com",
        correlation_id=TRACE,
        created_at=PLACED_AT,
        updated_at=PLACED_AT,
    )
    assert fields["items"] == '[{"productId":"tea","quantity":2}]'
    assert memory.sets == {index(OrderStatus.PROCESSING).key: {"1"}}
    assert memory.ttls == {order("1").key: KEEP}


def test_without_a_key_equal_requests_are_two_orders() -> None:
    memory = Memory()
    assert [placed(memory, an_order(order_id), None) for order_id in "12"] == ["1", "2"]
    assert len(memory.published) == 2


def test_with_a_key_equal_requests_are_one_order() -> None:
    memory = Memory()
    assert [placed(memory, an_order(order_id), ONCE) for order_id in "123"] == ["1", "1", "1"]
    assert len(memory.published) == 1
    assert memory.sets == {index(OrderStatus.PROCESSING).key: {"1"}}


def test_a_key_is_not_for_another_request() -> None:
    memory = Memory()
    placed(memory, an_order("1"), ONCE)
    before = memory.state()
    with pytest.raises(KeyReused):
        placed(memory, an_order("2"), Once("one", "asked for something else", ONCE.remember))
    assert memory.state() == before


def test_another_key_is_another_order() -> None:
    memory = Memory()
    assert placed(memory, an_order("1"), ONCE) == "1"
    assert placed(memory, an_order("2"), Once("two", "asked", ONCE.remember)) == "2"


@pytest.mark.parametrize("once", [None, ONCE], ids=["without a key", "with a key"])
def test_the_very_request_sent_again_after_a_lost_answer_places_nothing(once: Once | None) -> None:
    memory = Memory()
    placed(memory, an_order(), once)
    before = memory.state()
    assert placed(memory, an_order(), once) == "1"
    assert memory.state() == before


def test_a_key_is_remembered_for_a_while_and_never_in_the_clear() -> None:
    memory = Memory()
    placed(memory, an_order(), ONCE)
    assert memory.ttls[ONCE.receipt.key] == ONCE.remember
    assert "one" not in ONCE.receipt.key


def test_a_fingerprint_is_of_what_is_asked_for() -> None:
    class Asked(Value):
        this: str
        that: int | None = None

    assert fingerprint(Asked(this="a")) == fingerprint(Asked(this="a", that=None))
    assert len({fingerprint(each) for each in (Asked(this="a"), Asked(this="b"), Asked(this="a", that=0))}) == 3
