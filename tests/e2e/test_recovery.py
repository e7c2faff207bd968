"""Recovery is the time from a disturbance until nobody is late any more."""

from __future__ import annotations

import pytest

from tests.e2e.recovery import Flow, Moment, Recovery, recoveries, recovery, slowest, slowest_by_limit

AT = 1000.0
KILLED = Moment("killed", AT)


def steady(start: float, end: float, *, took: float = 0.05) -> list[Flow]:
    """An order every 100 ms."""
    return [Flow(start + tenth / 10, start + tenth / 10 + took) for tenth in range(int((end - start) * 10))]


def test_a_disturbance_that_nobody_notices_takes_no_time() -> None:
    assert recovery(KILLED, steady(AT - 5, AT + 20), late_after=1) == 0


def test_it_counts_until_the_last_order_in_the_dead_hands_is_done() -> None:
    flows = [*steady(AT - 5, AT + 20), Flow(AT - 0.3, AT + 6.5), Flow(AT - 0.1, AT + 6)]
    assert recovery(KILLED, flows, late_after=1) == pytest.approx(6.5)


def test_a_backlog_that_drains_slowly_counts_to_its_end() -> None:
    waiting = [Flow(AT + tenth / 10, AT + 10 + tenth / 20) for tenth in range(100)]
    assert recovery(KILLED, waiting, late_after=1) == pytest.approx(AT + 10 + 99 / 20 - AT)


def test_lateness_before_the_disturbance_or_long_after_it_is_not_its_doing() -> None:
    flows = [*steady(AT - 5, AT + 30), Flow(AT - 9, AT - 5), Flow(AT - 0.1, AT + 4), Flow(AT + 15, AT + 19)]
    assert recovery(KILLED, flows, late_after=1) == pytest.approx(4)


def test_a_second_disturbance_does_not_prolong_the_first() -> None:
    flows = [Flow(AT - 0.1, AT + 6), Flow(AT + 8, AT + 14)]
    assert recovery(KILLED, flows, late_after=2) == pytest.approx(6)
    assert recovery(Moment("killed again", AT + 8), flows, late_after=2) == pytest.approx(6)


def test_disturbances_that_come_when_the_flow_is_whole_are_judged_each_by_its_own_limit() -> None:
    moments = [Moment("killed", AT, within=10), Moment("replaced", AT + 8, within=2)]
    flows = [Flow(AT - 0.1, AT + 6), Flow(AT + 8, AT + 9.5)]
    assert recoveries(moments, flows, late_after=1) == [
        Recovery("killed", 6, 10),
        Recovery("replaced", 1.5, 2),
    ]


def test_one_that_comes_before_the_flow_is_whole_is_taken_together_with_the_one_before() -> None:
    moments = [Moment("replaced", AT, within=2), Moment("froze", AT + 9, begun=AT + 1.5, within=10)]
    flows = [Flow(AT - 0.1, AT + 4), Flow(AT + 3, AT + 12)]
    assert recoveries(moments, flows, late_after=1) == [Recovery("replaced + froze", 3, 10, True)]


def test_who_is_late_only_once_the_next_one_has_begun_is_late_because_of_that() -> None:
    moments = [Moment("flushed", AT, within=2), Moment("cut", AT + 5, begun=AT + 0.5, within=10)]
    flows = [Flow(AT + 0.2, AT + 6)]
    assert recoveries(moments, flows, late_after=1) == [
        Recovery("flushed", 0, 2),
        Recovery("cut", 1, 10),
    ]


def test_how_close_recoveries_came_to_their_limits_is_told() -> None:
    assert slowest_by_limit([Recovery("a", 3, 10), Recovery("b", 7, 10), Recovery("c + d", 9, 10, True)]) == [
        "within 10 s, alone: 2, the slowest 7.0 s (b)",
        "within 10 s, overlapping: 1, the slowest 9.0 s (c + d)",
    ]


def test_handlers_that_are_slow_by_themselves_are_not_late() -> None:
    assert recovery(KILLED, steady(AT - 5, AT + 5, took=1.4), late_after=2) == 0


def test_the_slowest_order_is_the_one_that_took_longest() -> None:
    assert slowest([]) == 0
    assert slowest([Flow(1, 2), Flow(5, 8), Flow(8, 9)]) == 3
