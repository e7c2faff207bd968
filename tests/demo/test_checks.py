"""A run without fault passes every check; each fault is found by the check that is there for it, and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from demo.checks import Check, check_all
from demo.evidence import Evidence
from demo.replay import Refused
from demo.shop import Level
from demo.streams import INVENTORY_STREAM, ORDERS_STREAM, Group, Recorded, Snapshot
from tests.demo.runs import a_run, an_order

ORDERS = [an_order("first", a=3), an_order("second", a=1, b=1), an_order("third", a=3)]
STOCK = {"a": 5, "b": 1, "c": 7}  # the third order comes too late


def good(**settings: int) -> Evidence:
    return a_run(ORDERS, STOCK, **settings)


def failed(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    return {check.claim: check.problems for check in check_all(evidence) if not check.holds}


def with_event(evidence: Evidence, stream: str, number: int, *events: Recorded) -> Evidence:
    """The same run with other events in the place of one."""
    spoilt = list(evidence.events[stream])
    spoilt[number : number + 1] = events
    return replace(evidence, events={**evidence.events, stream: spoilt})


def changed(event: Recorded, *, data: Mapping[str, Any] = {}, metadata: Mapping[str, Any] = {}) -> Recorded:
    return event._replace(data={**event.data, **data}, metadata={**event.metadata, **metadata})


@pytest.mark.parametrize("connections", [1, 64])
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_run_without_fault_passes(connections: int, replicas: int) -> None:
    evidence = good(connections=connections, replicas=replicas)
    assert failed(evidence) == {}
    assert "2 confirmed + 1 rejected, 0 processing" in [check.found for check in check_all(evidence)]


def test_a_run_of_nothing_passes() -> None:
    assert failed(a_run([], {})) == {}


def test_a_check_holds_when_it_found_no_problem() -> None:
    assert Check("claim", "found", ()).holds
    assert not Check("claim", "found", ("problem",)).holds


def test_a_refused_order_is_named() -> None:
    spoilt = replace(good(), refused=[Refused(an_order("fourth", a=1), "422 items: too many")])
    assert failed(spoilt) == {"every order was accepted": ("order fourth was refused: 422 items: too many",)}


def test_an_id_given_twice_is_named() -> None:
    run = good()
    spoilt = replace(run, posted=[run.posted[0], run.posted[0]._replace(order=ORDERS[1]), run.posted[2]])
    assert failed(spoilt)["every order was accepted"] == ("2 orders were given the id id-1",)


@pytest.mark.parametrize(
    ("events", "complaint"),
    [(0, "order first (id-1) is on the stream as nothing"), (2, "as order.created, order.created")],
)
def test_an_order_that_is_not_on_the_stream_once_is_named(events: int, complaint: str) -> None:
    run = good()
    problems = failed(with_event(run, ORDERS_STREAM, 0, *[run.events[ORDERS_STREAM][0]] * events))
    assert complaint in problems["each is on the stream once, as posted"][0]


def test_an_order_published_with_other_items_is_named() -> None:
    run = good()
    event = changed(run.events[ORDERS_STREAM][0], data={"items": [{"productId": "a", "quantity": 4}]})
    [problem] = failed(with_event(run, ORDERS_STREAM, 0, event))["each is on the stream once, as posted"]
    assert problem.startswith("order first (id-1) has other items on the stream")


def test_an_event_about_an_order_that_nobody_posted_is_named() -> None:
    run = good()
    for stream in (ORDERS_STREAM, INVENTORY_STREAM):
        stranger = changed(run.events[stream][0], data={"orderId": "id-9"})
        problems = failed(with_event(run, stream, 0, run.events[stream][0], stranger))
        assert any(f"{stream} holds order id-9" in problem for each in problems.values() for problem in each)


def test_orders_posted_one_after_another_must_be_on_the_stream_in_file_order() -> None:
    run = good(connections=1)
    spoilt = replace(run, events={**run.events, ORDERS_STREAM: run.events[ORDERS_STREAM][::-1]})
    assert "does not have the order of the file" in failed(spoilt)["each is on the stream once, as posted"][0]


@pytest.mark.parametrize("status", ["processing", "cancelled"])
def test_an_order_without_a_final_state_is_named(status: str) -> None:
    run = good()
    spoilt = replace(run, states=[run.states[0]._replace(status=status), *run.states[1:]])
    assert failed(spoilt)["one final state each, as its event says"] == (f"order first (id-1) is {status}",)


@pytest.mark.parametrize("times", [0, 2])
def test_an_order_that_is_not_listed_once_is_named(times: int) -> None:
    run = good()
    spoilt = replace(run, states=[*[run.states[0]] * times, *run.states[1:]])
    [problem] = failed(spoilt)["one final state each, as its event says"]
    assert problem == f"order first (id-1) is listed {times} times by the order service"


def test_a_state_that_its_event_contradicts_is_named() -> None:
    run = good()
    spoilt = replace(run, states=[*run.states[:2], run.states[2]._replace(status="confirmed", reason=None)])
    [problem] = failed(spoilt)["one final state each, as its event says"]
    assert problem == "order third (id-3) is confirmed, and the stream says inventory.rejected"


def test_a_reason_that_its_event_contradicts_is_named() -> None:
    run = good()
    spoilt = replace(run, states=[*run.states[:2], run.states[2]._replace(reason="unknown_product")])
    [problem] = failed(spoilt)["one final state each, as its event says"]
    assert problem == "order third (id-3) has the reason unknown_product, and the stream says out_of_stock"


@pytest.mark.parametrize(
    ("stock", "complaint"),
    [
        ({"a": Level(2, 4)}, "product a: 5 before, 2 + 4 after"),
        ({"b": Level(-1, 2)}, "product b is negative: -1 available, 2 reserved"),
        ({"d": Level(1, 0)}, "product d has appeared from nowhere"),
    ],
)
def test_stock_that_is_not_conserved_is_named(stock: dict[str, Level], complaint: str) -> None:
    run = good()
    problems = failed(replace(run, stock={**run.stock, **stock}))
    assert complaint in problems["every product's stock is conserved"]


def test_stock_that_has_vanished_is_named() -> None:
    run = good()
    spoilt = replace(run, stock={name: level for name, level in run.stock.items() if name != "c"})
    assert failed(spoilt) == {"every product's stock is conserved": ("product c is not in stock any more",)}


def test_conserved_stock_that_is_reserved_for_nobody_is_named() -> None:
    run = good()
    spoilt = replace(run, stock={**run.stock, "c": Level(6, 1)})
    assert failed(spoilt) == {
        "reserved is what confirmed orders hold": ("product c: 1 reserved, 0 in confirmed orders",)
    }


def test_an_outcome_that_no_serial_shop_has_is_named() -> None:
    run = good()
    late = run.events[INVENTORY_STREAM][2]
    spoilt = with_event(run, INVENTORY_STREAM, 2, late._replace(type="inventory.reserved"))
    assert failed(spoilt)["outcomes as served one after another"] == (
        "order third (id-3): confirmed; serially it is rejected (out_of_stock; a: 3 asked, 1 there)",
    )


def test_shortages_are_those_of_a_serial_shop() -> None:
    run = good()
    shortages = [{"productId": "a", "requested": 3, "available": 2}]
    late = changed(run.events[INVENTORY_STREAM][2], data={"shortages": shortages})
    [problem] = failed(with_event(run, INVENTORY_STREAM, 2, late))["outcomes as served one after another"]
    assert "(out_of_stock; a: 3 asked, 2 there); serially it is rejected" in problem


def test_several_inventory_processes_are_judged_by_the_order_in_which_they_committed() -> None:
    """The third order overtook the first two: there is stock for it and the second one."""
    overtaking = a_run([ORDERS[2], ORDERS[1], ORDERS[0]], STOCK, replicas=2)
    created = overtaking.events[ORDERS_STREAM]
    evidence = replace(overtaking, events={**overtaking.events, ORDERS_STREAM: created[::-1]})
    assert failed(evidence) == {}
    assert failed(replace(evidence, replicas=1)).keys() == {"outcomes as served one after another"}


@pytest.mark.parametrize("times", [0, 2])
def test_an_order_without_exactly_one_notification_is_named(times: int) -> None:
    run = good()
    spoilt = replace(run, notifications={**run.notifications, "id-2": list(run.notifications["id-2"]) * times})
    [problem] = failed(spoilt)["exactly one notification an order"]
    assert problem.startswith(f"order second (id-2) has {times} notifications")


@pytest.mark.parametrize(
    "wrong", [{"kind": "order_rejected"}, {"status": "failed"}, {"event_id": "inventory.reserved of id-1"}]
)
def test_a_notification_of_something_else_is_named(wrong: dict[str, Any]) -> None:
    run = good()
    spoilt = replace(run, notifications={**run.notifications, "id-2": [run.notifications["id-2"][0]._replace(**wrong)]})
    [problem] = failed(spoilt)["exactly one notification an order"]
    assert problem.startswith("order second (id-2) has 1 notifications")


def spoil_trace(run: Evidence) -> Sequence[Evidence]:
    other = {"correlationId": "f" * 32}
    return [
        with_event(run, ORDERS_STREAM, 1, changed(run.events[ORDERS_STREAM][1], metadata=other)),
        with_event(run, INVENTORY_STREAM, 1, changed(run.events[INVENTORY_STREAM][1], metadata=other)),
        replace(run, states=[run.states[0], run.states[1]._replace(trace_id="f" * 32), run.states[2]]),
        replace(run, posted=[run.posted[0], run.posted[1]._replace(trace_id="f" * 32), run.posted[2]]),
    ]


@pytest.mark.parametrize("place", range(4))
def test_a_trace_that_breaks_anywhere_is_named(place: int) -> None:
    [problem] = failed(spoil_trace(good())[place])["one order is one trace"]
    assert problem.startswith("order second (id-2) has 2 trace ids")


def test_an_event_with_another_cause_is_named() -> None:
    run = good()
    event = changed(run.events[INVENTORY_STREAM][1], metadata={"causationId": "something else"})
    [problem] = failed(with_event(run, INVENTORY_STREAM, 1, event))["one order is one trace"]
    assert problem == "order second (id-2): inventory.reserved does not name order.created as its cause"


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        (Group(INVENTORY_STREAM, "order-group", 2, 1, 1), "order-group has lag 2 and 1 pending"),
        (Group(INVENTORY_STREAM, "order-group", 0, 0, 1, 3), "order-group has lag 0 and 0 pending, 3 put aside"),
        (Group(INVENTORY_STREAM, "order-group", None, 0, 1), "order-group has lag None and 0 pending"),
    ],
)
def test_a_group_that_is_not_done_is_named(group: Group, complaint: str) -> None:
    run = good()
    snapshot = Snapshot(run.snapshot.lengths, (group, *run.snapshot.groups[1:]), ())
    assert failed(replace(run, snapshot=snapshot)) == {"nothing is left over": (complaint,)}


def test_a_group_that_is_not_there_is_named() -> None:
    run = good()
    snapshot = Snapshot(run.snapshot.lengths, run.snapshot.groups[:2], ("notification-group",))
    assert failed(replace(run, snapshot=snapshot)) == {"nothing is left over": ("notification-group is not there",)}


def test_a_dead_letter_is_shown() -> None:
    letter = "inventory_dlq: order-group gave up inventory.reserved (attempts_spent): boom"
    spoilt = replace(good(), dead_letters={"orders_dlq": [], "inventory_dlq": [letter]})
    assert failed(spoilt) == {"nothing is left over": (letter,)}
