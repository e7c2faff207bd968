"""One order's story is told in the order of time."""

from __future__ import annotations

from dataclasses import replace

from demo.story import choose, tell
from tests.demo.runs import a_run, an_order

EVIDENCE = a_run([an_order("late", a=9), an_order("single", a=1), an_order("several", a=1, b=2)], {"a": 3, "b": 2})


def test_a_confirmed_order_of_several_lines_is_chosen() -> None:
    chosen = choose(EVIDENCE)
    assert chosen is not None
    assert chosen.order.name == "several"


def test_without_confirmed_orders_there_is_no_story() -> None:
    assert choose(a_run([an_order("late", a=9)], {"a": 3})) is None


def test_an_order_whose_story_is_incomplete_is_not_chosen() -> None:
    assert choose(replace(EVIDENCE, notifications={})) is None


def test_a_story_has_everything_that_happened() -> None:
    steps = tell(EVIDENCE, EVIDENCE.posted[2], "reserved")
    assert [(round(step.after), step.what) for step in steps] == [
        (0, "POST /orders"),
        (5, "order.created"),
        (10, "202 Accepted"),
        (20, "inventory.reserved"),
        (20, "reservation reserved"),
        (30, "order confirmed"),
        (30, "order_confirmed sent"),
    ]
    assert steps[3].details == "caused by order.created of id-3"
