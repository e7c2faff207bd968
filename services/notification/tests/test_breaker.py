"""The circuit breaker of a receiver."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from notification_service.channels.breaker import FIRST_PAUSE, LONGEST_PAUSE, MOST_RECEIVERS, OPENS_AFTER, Breaker

ERROR = OSError("connection refused")


class Clock:
    """Time that passes when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock, retry_after: timedelta | None = None, *, answers: bool = False) -> Breaker:
    breaker = Breaker("webhook", clock=clock)
    for number in range(OPENS_AFTER):
        breaker.failed(str(number), ERROR, retry_after=retry_after, answers=answers)
    assert breaker.is_open
    return breaker


def test_it_opens_when_several_notifications_fail_in_a_row(clock: Clock) -> None:
    breaker = Breaker("webhook", clock=clock)
    for number in range(OPENS_AFTER):
        assert not breaker.is_open
        breaker.failed(str(number), ERROR)
    assert breaker.wait("another") is not None


def test_one_notification_that_fails_for_ever_opens_nothing(clock: Clock) -> None:
    breaker = Breaker("webhook", clock=clock)
    for _ in range(100):
        breaker.failed("the same", ERROR)
    assert breaker.wait("the same") is None


def test_several_that_fail_while_others_are_answered_open_nothing(clock: Clock) -> None:
    breaker = Breaker("webhook", clock=clock)
    for number in range(100):
        breaker.failed(str(number), ERROR)
        if number % 3 == 0:
            breaker.passed("taken")
    assert not breaker.is_open


def test_while_it_is_open_one_at_a_time_may_try_after_a_pause(clock: Clock) -> None:
    breaker = opened(clock)
    assert breaker.wait("new") is not None
    clock.now += FIRST_PAUSE.total_seconds()
    assert breaker.wait("new") is None
    breaker.begin("new")
    assert breaker.wait("other") is not None
    breaker.end("new")
    assert breaker.wait("other") is None


def test_those_who_have_not_failed_yet_try_first(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += FIRST_PAUSE.total_seconds()
    assert breaker.wait("1") is not None
    assert breaker.wait("new") is None
    clock.now += FIRST_PAUSE.total_seconds()
    assert breaker.wait("1") is None


def test_pauses_grow_and_nobody_waits_for_longer_than_half_a_minute(clock: Clock) -> None:
    breaker = opened(clock)
    pauses = []
    for number in range(10):
        began = clock.now
        while (wait := breaker.wait(f"new {number}")) is not None:
            assert wait <= 2 * LONGEST_PAUSE
            clock.now += 0.5
        pauses.append(clock.now - began)
        breaker.begin(f"new {number}")
        breaker.failed(f"new {number}", ERROR)
        breaker.end(f"new {number}")
    assert pauses[:4] == [1, 2, 4, 8]
    assert set(pauses[4:]) == {LONGEST_PAUSE.total_seconds()}


def test_a_receiver_that_asks_for_an_hour_is_asked_again_after_the_longest_pause(clock: Clock) -> None:
    breaker = opened(clock, timedelta(hours=1))
    clock.now += LONGEST_PAUSE.total_seconds() - 1
    assert breaker.wait("new") is not None
    clock.now += 1
    assert breaker.wait("new") is None


def test_to_a_receiver_that_answers_each_new_one_goes_once(clock: Clock) -> None:
    breaker = opened(clock, answers=True)
    for number in range(20):
        assert breaker.wait(f"new {number}") is None
        breaker.begin(f"new {number}")
    for number in range(20):
        breaker.failed(f"new {number}", ERROR, answers=True)
        breaker.end(f"new {number}")
        assert breaker.wait(f"new {number}") is not None
    breaker.failed("one that got no answer", ERROR)
    assert breaker.wait("another") is not None


def test_those_who_are_refused_again_and_again_do_not_open_it_once_another_was_taken(clock: Clock) -> None:
    breaker = opened(clock, answers=True)
    breaker.passed("taken")
    for _ in range(3):
        for number in range(OPENS_AFTER):
            breaker.failed(str(number), ERROR, answers=True)
    assert not breaker.is_open
    for number in range(OPENS_AFTER):
        breaker.failed(str(number), ERROR)
    assert breaker.is_open


def test_it_remembers_a_limited_number_of_those_who_failed(clock: Clock) -> None:
    breaker = opened(clock, answers=True)
    for number in range(MOST_RECEIVERS):
        breaker.failed(f"more {number}", ERROR, answers=True)
    assert [breaker.wait(key) is None for key in ("0", "more 0")] == [True, False]


def test_one_answer_closes_it(clock: Clock) -> None:
    breaker = opened(clock)
    breaker.passed("taken")
    assert not breaker.is_open
    assert [breaker.wait(key) for key in ("0", "new")] == [None, None]
    for number in range(OPENS_AFTER - 1):
        breaker.failed(str(number), ERROR)
        assert not breaker.is_open


def test_it_says_once_that_it_opens_and_once_that_it_closes(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    breaker = opened(clock)
    for number in range(20):
        breaker.failed(f"more {number}", ERROR)
    clock.now += 73
    for _ in range(3):
        breaker.passed("taken")
    assert caplog.messages == [
        f"circuit breaker of webhook opens: {OPENS_AFTER} notifications in a row failed, others wait: {ERROR}",
        "circuit breaker of webhook closes: its receiver takes notifications again after 73 s",
    ]
