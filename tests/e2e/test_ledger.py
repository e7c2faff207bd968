"""The ledger finds what is lost, doubled or contradictory; each test spoils one thing of a run without fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.evidence import Evidence, Life
from tests.e2e.ledger import judge
from tests.e2e.load import Placed
from tests.e2e.shop import Level, Notification, OrderState
from tests.e2e.streams import INVENTORY_STREAM, ORDERS_STREAM, Group, Recorded

BEGAN = 1_800_000_000.0


def an_event(stream: str, type: str, number: int, **metadata: str) -> Recorded:
    trace = f"{number:032x}"
    known = {"eventId": f"{type}-{number}", "correlationId": trace, "traceparent": f"00-{trace}-{number:016x}-00"}
    return Recorded(stream, f"{number}-0", type, f"id-{number}", {**known, **metadata})


def a_life(number: int, *, confirmed: bool = True) -> Life:
    outcome = "inventory.reserved" if confirmed else "inventory.rejected"
    kind = "order_confirmed" if confirmed else "order_rejected"
    placed = Placed(number, f"key-{number}", f"{number:032x}", (("tea", 2),), BEGAN + number, {f"id-{number}"})
    return Life(
        placed=placed,
        state=OrderState("confirmed" if confirmed else "rejected", None, placed.trace_id, BEGAN + number + 0.1),
        reservation="reserved" if confirmed else "rejected",
        notifications=[Notification(kind, "sent", BEGAN + number + 0.2, f"{outcome}-{number}")],
        created=[an_event(ORDERS_STREAM, "order.created", number)],
        outcomes=[an_event(INVENTORY_STREAM, outcome, number, causationId=f"order.created-{number}")],
    )


@pytest.fixture
def good() -> Evidence:
    """Two orders, one of them rejected; one poisoned entry."""
    return Evidence(
        lives=[a_life(1), a_life(2, confirmed=False)],
        refused=[],
        strangers=[],
        unreadable=[Recorded(ORDERS_STREAM, "9-0", None, None, {})],
        stock={"tea": 3},
        levels={"tea": Level(1, 2)},
        groups=[Group(ORDERS_STREAM, "inventory-group", 0, 0)],
        dead_letters=[{"entryId": "9-0", "group": "inventory-group", "reason": "undecodable"}],
        poisoned=["9-0"],
        webhooks={"id-1": ["inventory.reserved-1"] * 2, "id-2": ["inventory.rejected-2"]},
    )


def spoil(evidence: Evidence, **changed: Any) -> Evidence:
    """The same with something else about the first order."""
    first, *others = evidence.lives
    return replace(evidence, lives=[replace(first, **changed), *others])


def test_a_run_without_fault_is_good(good: Evidence) -> None:
    verdict = judge(good)
    assert verdict.good, verdict.problems
    assert (verdict.accepted, verdict.final, verdict.lost, verdict.doubled) == (2, 2, 0, 0)


LOST: dict[str, tuple[Callable[[Life], dict[str, Any]], str]] = {
    "unknown": (lambda life: {"state": None}, "the order service does not know it"),
    "unfinished": (lambda life: {"state": OrderState("processing", None, "", 0)}, "it is processing"),
    "unpublished": (lambda life: {"created": []}, "it is not on orders_stream"),
    "undecided": (lambda life: {"outcomes": []}, "nothing about it is on inventory_stream"),
    "unreserved": (lambda life: {"reservation": None}, "the inventory does not know it"),
    "untold": (lambda life: {"notifications": []}, "the customer was not told"),
}


@pytest.mark.parametrize("case", LOST)
def test_an_order_that_lacks_a_part_is_lost(good: Evidence, case: str) -> None:
    change, what = LOST[case]
    verdict = judge(spoil(good, **change(good.lives[0])))
    assert verdict.lost == 1
    assert any(problem.startswith("lost: order 1 (id-1)") and what in problem for problem in verdict.problems)


DOUBLED: dict[str, tuple[Callable[[Life], dict[str, Any]], str]] = {
    "published": (lambda life: {"created": [*life.created] * 2}, "on orders_stream 2 times"),
    "decided": (lambda life: {"outcomes": [*life.outcomes] * 2}, "inventory.reserved, inventory.reserved"),
    "told": (lambda life: {"notifications": [*life.notifications] * 2}, "told 2 times"),
    "accepted": (lambda life: {"placed": replace(life.placed, order_ids={"id-1", "id-7"})}, "several orders"),
}


@pytest.mark.parametrize("case", DOUBLED)
def test_an_order_that_has_a_part_twice_is_doubled(good: Evidence, case: str) -> None:
    change, what = DOUBLED[case]
    verdict = judge(spoil(good, **change(good.lives[0])))
    assert verdict.doubled == 1
    assert any(problem.startswith("doubled: order 1 (id-1)") and what in problem for problem in verdict.problems)


def test_an_order_that_nobody_was_told_of_counts_as_doubled(good: Evidence) -> None:
    verdict = judge(replace(good, strangers=[an_event(ORDERS_STREAM, "order.created", 7)]))
    assert verdict.doubled == 1
    assert "doubled: order id-7 is in the streams, and nobody was told of it" in verdict.problems


CONTRADICTIONS: dict[str, tuple[Callable[[Life], dict[str, Any]], str]] = {
    "reservation": (lambda life: {"reservation": "rejected"}, "its reservation is rejected"),
    "outcome": (
        lambda life: {"outcomes": [replace(life.outcomes[0], type="inventory.rejected")]},
        "inventory_stream says inventory.rejected",
    ),
    "notification": (
        lambda life: {"notifications": [life.notifications[0]._replace(kind="order_rejected")]},
        "notification is order_rejected, sent",
    ),
    "failed notification": (
        lambda life: {"notifications": [life.notifications[0]._replace(status="failed")]},
        "notification is order_confirmed, failed",
    ),
    "trace": (
        lambda life: {"outcomes": [an_event(INVENTORY_STREAM, "inventory.reserved", 1, traceparent="00-77-1-00")]},
        "it has 2 trace ids",
    ),
    "cause": (
        lambda life: {"outcomes": [an_event(INVENTORY_STREAM, "inventory.reserved", 1, causationId="another")]},
        "does not name its order.created as the cause",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_parts_of_an_order_must_agree(good: Evidence, case: str) -> None:
    change, what = CONTRADICTIONS[case]
    verdict = judge(spoil(good, **change(good.lives[0])))
    assert (verdict.lost, verdict.doubled) == (0, 0)
    assert any(what in problem for problem in verdict.problems), verdict.problems


@pytest.mark.parametrize("level", [Level(0, 2), Level(2, 2), Level(0, 3), Level(4, -1)], ids=str)
def test_stock_is_conserved_and_reserved_is_what_confirmed_orders_hold(good: Evidence, level: Level) -> None:
    assert any("stock of tea" in problem for problem in judge(replace(good, levels={"tea": level})).problems)


def test_nothing_may_be_left_over(good: Evidence) -> None:
    for group in (Group(ORDERS_STREAM, "g", 1, 0), Group(ORDERS_STREAM, "g", 0, 1), Group(ORDERS_STREAM, "g", 0, 0, 1)):
        assert judge(replace(good, groups=[group])).problems


def test_exactly_the_poisoned_entries_are_dead_letters(good: Evidence) -> None:
    another = {"entryId": "3-0", "group": "order-group", "reason": "crash_loop"}
    assert judge(replace(good, dead_letters=[])).problems == ("the poisoned entry 9-0 has 0 dead letters",)
    assert judge(replace(good, dead_letters=[*good.dead_letters] * 2)).problems
    assert "crash_loop" in judge(replace(good, dead_letters=[*good.dead_letters, another])).problems[0]
    assert judge(replace(good, poisoned=[])).problems


def test_an_order_that_was_never_accepted_is_named(good: Evidence) -> None:
    refused = Placed(3, "key-3", "0" * 32, (), BEGAN, refused="422 no")
    assert judge(replace(good, refused=[refused])).problems == ("order 3 was not accepted: 422 no",)


def test_a_customer_may_be_told_again_only_under_the_same_id(good: Evidence) -> None:
    assert judge(replace(good, webhooks={**good.webhooks, "id-1": ["inventory.reserved-1", "other"]})).problems
