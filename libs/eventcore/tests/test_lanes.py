"""Lanes: one at a time, first come first served, and nothing stays behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventcore.consume.lanes import Lanes

KEYS = st.sampled_from("abc")


def test_the_first_goes_and_the_others_wait_their_turn() -> None:
    lanes = Lanes[int]()
    assert lanes.enter("a", 1)
    assert not lanes.enter("a", 2)
    assert not lanes.enter("a", 3)
    assert lanes.leave("a") == 2
    assert lanes.leave("a") == 3
    assert lanes.leave("a") is None
    assert lanes.enter("a", 4)


def test_lanes_do_not_wait_for_each_other() -> None:
    lanes = Lanes[int]()
    assert lanes.enter("a", 1)
    assert lanes.enter("b", 2)


def test_an_item_that_is_false_is_handed_out_like_any_other() -> None:
    lanes = Lanes[int]()
    lanes.enter("a", 1)
    lanes.enter("a", 0)
    assert lanes.leave("a") == 0
    assert lanes.leave("a") is None
    assert len(lanes) == 0


@given(st.lists(st.tuples(st.booleans(), KEYS)))
def test_they_behave_like_a_queue_for_each_key_and_forget_empty_ones(steps: list[tuple[bool, str]]) -> None:
    lanes, model = Lanes[int](), dict[str, list[int]]()
    for number, (enters, key) in enumerate(steps):
        queue = model.setdefault(key, [])
        if enters:
            queue.append(number)
            assert lanes.enter(key, number) == (len(queue) == 1)
        elif queue:
            queue.pop(0)
            assert lanes.leave(key) == (queue[0] if queue else None)
        assert len(lanes) == sum(1 for queue in model.values() if queue)


def test_who_waits_can_be_taken_out_and_whoever_has_the_lane_keeps_it() -> None:
    lanes = Lanes[int]()
    for number in range(5):
        lanes.enter("a", number)
    assert lanes.waiting == 4
    assert lanes.cut("a", 1) == [2, 3, 4]
    assert lanes.waiting == 1
    assert lanes.cut("a") == [1]
    assert lanes.cut("b") == []
    assert not lanes.enter("a", 5)
    assert lanes.leave("a") == 5
    assert lanes.waiting == 0
