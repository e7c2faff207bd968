"""Detours: what stands later in a lane follows what stands earlier, and the lane is free once all are back."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from eventcore.consume.delivery import Delivery, Past
from eventcore.consume.detours import EXPECTED_BACK_WITHIN, Detours

from .samples import RETRY_STREAM, STREAM


def fresh(number: int) -> Delivery:
    return Delivery(STREAM, f"{number}-0", 1, {}, 0.0)


def back(number: int) -> Delivery:
    return Delivery(RETRY_STREAM, f"{1000 + number}-0", 1, {}, 0.0, past=Past(f"{number}-0", 0))


def put_aside(detours: Detours, delivery: Delivery, *, due: float = 1.0) -> None:
    detours.departed("lane", delivery, delivery.origin_id, due)


def test_a_lane_of_which_nothing_is_aside_is_free() -> None:
    assert not Detours().takes("lane", fresh(1), 0.0)


def test_who_comes_later_follows_and_who_stands_before_does_not() -> None:
    detours = Detours()
    put_aside(detours, fresh(2))
    assert detours.takes("lane", fresh(3), 0.0)
    assert not detours.takes("lane", fresh(1), 0.0)
    assert not detours.takes("another lane", fresh(4), 0.0)


def test_the_lane_is_free_when_all_are_back() -> None:
    detours = Detours()
    put_aside(detours, fresh(1))
    put_aside(detours, fresh(2))
    assert not detours.takes("lane", back(1), 0.0)
    assert detours.takes("lane", fresh(3), 0.0)
    detours.outgoing.clear()
    assert not detours.takes("lane", back(2), 0.0)
    assert not detours
    assert not detours.takes("lane", fresh(3), 0.0)


def test_who_comes_back_too_early_follows_once_more() -> None:
    detours = Detours()
    put_aside(detours, fresh(1))
    put_aside(detours, fresh(2))
    assert detours.takes("lane", back(2), 0.0)
    assert detours.before("lane", back(2)) == "1-0"


def test_what_a_peer_has_is_not_waited_for_for_ever() -> None:
    detours = Detours()
    put_aside(detours, fresh(1), due=10.0)
    assert detours.is_away("lane", 10.0 + EXPECTED_BACK_WITHIN)
    detours.prune(11.0 + EXPECTED_BACK_WITHIN)
    assert not detours


def test_those_that_go_aside_again_and_again_do_not_keep_the_one_before_them_expected() -> None:
    detours = Detours()
    put_aside(detours, fresh(1), due=0.0)
    for now in range(int(EXPECTED_BACK_WITHIN)):
        put_aside(detours, back(2), due=now)
        put_aside(detours, back(3), due=now)
        assert detours.takes("lane", back(2), now)
        assert detours.takes("lane", back(3), now)
    assert not detours.takes("lane", back(2), EXPECTED_BACK_WITHIN + 1)


@given(st.sets(st.integers(1, 50), min_size=1), st.integers())
def test_they_leave_in_the_order_of_the_stream(numbers: set[int], seed: int) -> None:
    detours, shuffled = Detours(), list(numbers)
    random.Random(seed).shuffle(shuffled)
    detours.close("lane", [fresh(number) for number in shuffled])
    assert [each.entry_id for each in detours.outgoing["lane"]] == [f"{number}-0" for number in sorted(numbers)]
    assert detours.waiting == len(numbers)
