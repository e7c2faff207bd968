"""Order and inventory service against each other: whoever is faster, at every step, they agree in the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, Line, OrderCancelled, OrderCreated
from eventcore import Event, Transaction
from inventory_service.domain.reservation import release, reservation, reserve
from inventory_service.domain.stock import available, put, reserved
from libs.contracts.tests.memory import Memory, interleaved
from order_service.domain import progress
from order_service.domain.order import NewOrder, order
from order_service.domain.placing import place
from order_service.domain.progress import NotCancellable, UnknownOrder

AT, KEEP = "2026-11-23T10:00:00.000Z", timedelta(days=30)


def an_order(order_id: str, tea: int) -> NewOrder:
    return NewOrder(order_id, (Line(product_id="tea", quantity=tea),), "4bf92f3577b34da6a3ce929d0e0e4736", AT)


def consume(event: Event, deliveries: int) -> Iterator[Transaction]:
    """What both services do about an event, as often as it is delivered."""
    for _ in range(deliveries):
        match event:
            case OrderCreated():
                yield reserve(event, keep=KEEP)
            case OrderCancelled():
                yield release(event, keep=KEEP)
            case InventoryReserved():
                yield progress.confirm(event, at=AT, keep=KEEP)
            case InventoryRejected():
                yield progress.reject(event, at=AT, keep=KEEP)
            case InventoryReleased():
                yield progress.close(event, at=AT, keep=KEEP)


def ends(tea: int, *wishes: Transaction, deliveries: int = 2) -> Iterator[Memory]:
    memory = Memory()
    memory.commit(put({"tea": tea}))
    react = partial(consume, deliveries=deliveries)
    return interleaved(memory, wishes, react=react, refusals=(NotCancellable, UnknownOrder))


def statuses(memory: Memory, order_id: str) -> tuple[str | None, str | None]:
    return memory.look(order(order_id)["status"]), memory.look(reservation(order_id)["status"])


def stock(memory: Memory) -> tuple[int, int]:
    return memory.number(available("tea")), memory.number(reserved("tea"))


@pytest.mark.parametrize(("tea", "expected"), [(2, ("confirmed", "reserved")), (1, ("rejected", "rejected"))])
def test_an_order_ends_as_the_inventory_decides(tea: int, expected: tuple[str, str]) -> None:
    found = list(ends(tea, place(an_order("1", 2), None, keep=KEEP)))
    assert {statuses(memory, "1") for memory in found} == {expected}
    assert {len(memory.published) for memory in found} == {2}


def test_an_order_that_may_be_cancelled_at_any_moment_ends_in_one_of_the_ways_that_agree() -> None:
    wishes = place(an_order("1", 2), None, keep=KEEP), progress.cancel("1", at=AT, keep=KEEP)
    found = {(*statuses(memory, "1"), *stock(memory)) for memory in ends(2, *wishes)}
    assert found == {
        ("confirmed", "reserved", 0, 2),  # the wish came before the order: 404
        ("cancelled", "released", 2, 0),
        ("cancelled", "rejected", 2, 0),  # the cancellation overtook the order on its way to the inventory
    }


def test_an_order_that_is_short_and_may_be_cancelled_holds_nothing_in_the_end() -> None:
    wishes = place(an_order("1", 2), None, keep=KEEP), progress.cancel("1", at=AT, keep=KEEP)
    found = {(*statuses(memory, "1"), *stock(memory)) for memory in ends(1, *wishes)}
    assert found == {("rejected", "rejected", 1, 0), ("cancelled", "rejected", 1, 0)}


def test_two_orders_for_the_last_piece_never_both_get_it() -> None:
    wishes = place(an_order("1", 1), None, keep=KEEP), place(an_order("2", 1), None, keep=KEEP)
    for memory in ends(1, *wishes):
        assert stock(memory) == (0, 1)
        assert {statuses(memory, "1"), statuses(memory, "2")} == {("confirmed", "reserved"), ("rejected", "rejected")}


AGREE = {("confirmed", "reserved"), ("rejected", "rejected"), ("cancelled", "released"), ("cancelled", "rejected")}


def test_with_two_orders_one_of_which_may_be_cancelled_the_services_agree_and_stock_is_conserved() -> None:
    placing = [place(an_order(order_id, 2), None, keep=KEEP) for order_id in "12"]
    found = list(ends(3, *placing, progress.cancel("1", at=AT, keep=KEEP), deliveries=1))
    assert found
    for memory in found:
        both = statuses(memory, "1"), statuses(memory, "2")
        assert set(both) <= AGREE
        held = 2 * both.count(("confirmed", "reserved"))
        assert stock(memory) == (3 - held, held)
