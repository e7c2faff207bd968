"""The verdict on a failed delivery, from values alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import Conflict, OutcomeUnknown, Reject, Retry, RetryPolicy, Unavailable, Undecodable, UnsupportedVersion
from eventcore.consume.delivery import (
    CrashLoop,
    DeadLetter,
    Delivery,
    LetterReason,
    LetterRefused,
    TryAgain,
    Verdict,
    entry_time,
    judge,
)

POLICY = RetryPolicy(attempts=3, base=timedelta(seconds=1), ceiling=timedelta(seconds=60))
ROLLOUT = timedelta(minutes=10)
SOON = timedelta(seconds=5)


def verdict(
    error: Exception,
    *,
    attempt: int = 1,
    failures: int = 1,
    waited: timedelta = timedelta(0),
    give_up_after: timedelta | None = None,
) -> Verdict:
    return judge(
        error,
        attempt=attempt,
        failures=failures,
        policy=POLICY,
        waited=waited,
        rollout=ROLLOUT,
        give_up_after=give_up_after,
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Undecodable("type: missing"), LetterReason.UNDECODABLE),
        (Reject("unknown customer"), LetterReason.REJECTED),
        (CrashLoop("3 attempts"), LetterReason.CRASH_LOOP),
    ],
)
def test_what_can_never_succeed_is_dead_lettered_at_once(error: Exception, reason: LetterReason) -> None:
    assert verdict(error) == DeadLetter(reason)


@pytest.mark.parametrize("error", [ValueError("x"), Conflict("x"), TimeoutError("x"), Retry("x")])
def test_a_failure_is_tried_again_until_attempts_are_spent(error: Exception) -> None:
    assert isinstance(verdict(error, attempt=2), TryAgain)
    assert verdict(error, attempt=3) == DeadLetter(LetterReason.ATTEMPTS_EXHAUSTED)
    assert verdict(error, attempt=4) == DeadLetter(LetterReason.ATTEMPTS_EXHAUSTED)


@given(st.integers(1, 2))
def test_the_policy_says_how_long_to_wait(attempt: int) -> None:
    again = verdict(ValueError("x"), attempt=attempt)
    assert isinstance(again, TryAgain)
    assert again.counts
    assert timedelta(0) <= again.after <= timedelta(seconds=2 ** (attempt - 1))


def test_a_handler_may_ask_for_a_longer_wait_but_gets_no_more_attempts() -> None:
    again = verdict(Retry("not yet", after=timedelta(hours=1)))
    assert again == TryAgain(timedelta(hours=1), counts=True)
    assert verdict(Retry("not yet", after=timedelta(hours=1)), attempt=3) == DeadLetter(LetterReason.ATTEMPTS_EXHAUSTED)


def test_a_handler_that_asks_for_no_wait_still_waits_as_the_policy_says() -> None:
    at_once = timedelta(microseconds=1)
    waits = [verdict(Retry("now", after=at_once)) for _ in range(20)]
    assert any(isinstance(again, TryAgain) and again.after > at_once for again in waits)


@pytest.mark.parametrize("error", [Unavailable("mail server"), OutcomeUnknown("connection")])
@pytest.mark.parametrize("attempt", [1, 3, 1000])
def test_what_is_out_of_reach_costs_no_attempt(error: Exception, attempt: int) -> None:
    again = verdict(error, attempt=attempt)
    assert isinstance(again, TryAgain)
    assert not again.counts


def test_what_is_out_of_reach_is_given_the_time_it_asks_for() -> None:
    again = verdict(Unavailable("mail server", retry_after=timedelta(minutes=5)))
    assert again == TryAgain(timedelta(minutes=5), counts=False)


def test_what_stays_out_of_reach_is_asked_less_and_less_often() -> None:
    waits = [verdict(Unavailable("mail server"), failures=20) for _ in range(100)]
    assert max(again.after for again in waits if isinstance(again, TryAgain)) > timedelta(seconds=30)


def test_what_stays_out_of_reach_for_longer_than_the_router_says_is_dead_lettered() -> None:
    error, three_days = Unavailable("mail server"), timedelta(days=3)
    assert isinstance(verdict(error, waited=three_days - SOON, give_up_after=three_days), TryAgain)
    assert verdict(error, waited=three_days, give_up_after=three_days) == DeadLetter(LetterReason.UNAVAILABLE)
    assert isinstance(verdict(error, waited=three_days), TryAgain)


def test_a_letter_that_can_not_be_written_is_not_given_up() -> None:
    again = verdict(LetterRefused("no room"), waited=timedelta(days=3), give_up_after=timedelta(seconds=1))
    assert isinstance(again, TryAgain)


def test_a_newer_version_waits_for_a_rollout_and_is_then_dead_lettered() -> None:
    error = UnsupportedVersion("order.created 2.0")
    again = verdict(error, attempt=1000, waited=ROLLOUT - SOON)
    assert isinstance(again, TryAgain)
    assert not again.counts
    assert timedelta(0) < again.after <= SOON
    assert verdict(error, waited=ROLLOUT) == DeadLetter(LetterReason.UNSUPPORTED_VERSION)


def test_a_newer_version_is_looked_at_again_every_now_and_then() -> None:
    again = verdict(UnsupportedVersion("order.created 2.0"))
    assert isinstance(again, TryAgain)
    assert timedelta(seconds=1) <= again.after <= timedelta(minutes=1)


def test_an_entry_id_tells_when_it_was_appended() -> None:
    assert entry_time("1795428000123-7") == datetime(2026, 11, 23, 10, 0, 0, 123_000, UTC)


def test_a_delivery_that_could_not_be_read_is_of_unknown_type() -> None:
    delivery = Delivery("orders_stream", "1795428000123-7", 1, {}, 0.0)
    assert (delivery.type, delivery.key) == ("unknown", ("orders_stream", "1795428000123-7"))
