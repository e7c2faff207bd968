"""The retry policy: exponential, bounded, with full jitter."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import RetryPolicy

WAITS = st.timedeltas(timedelta(0), timedelta(days=400))
POLICIES = st.builds(
    lambda attempts, waits: RetryPolicy(attempts, min(waits), max(waits)),
    st.integers(1, 1000),
    st.tuples(WAITS, WAITS),
)


@given(POLICIES, st.integers(1, 10_000))
def test_a_wait_lies_between_nothing_and_its_doubled_base_or_the_ceiling(policy: RetryPolicy, attempt: int) -> None:
    wait = policy.backoff(attempt)
    assert timedelta(0) <= wait <= policy.ceiling
    assert wait <= policy.base * 2 ** min(attempt - 1, 20) or attempt > 20


@given(POLICIES, st.integers(1, 2000))
def test_only_the_last_attempt_has_no_next_one(policy: RetryPolicy, attempt: int) -> None:
    assert (policy.delay(attempt) is None) == (attempt >= policy.attempts)


def test_waits_are_drawn_from_the_whole_range() -> None:
    policy = RetryPolicy(base=timedelta(seconds=1), ceiling=timedelta(seconds=100))
    waits = [policy.backoff(4) / timedelta(seconds=8) for _ in range(1000)]
    assert min(waits) < 0.05
    assert max(waits) > 0.95
    assert 0.4 < sum(waits) / len(waits) < 0.6


@pytest.mark.parametrize("attempts", [0, -1, 10**30, float("inf"), float("nan"), 2.5])
def test_attempts_that_nobody_can_make_are_refused(attempts: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"attempts must be from 1 to 1,000,000|as an integer"):
        RetryPolicy(attempts=attempts)


def test_a_wait_that_nobody_waits_for_is_refused() -> None:
    with pytest.raises(ValueError, match="ceiling must be at most 730 days"):
        RetryPolicy(base=timedelta(days=1), ceiling=timedelta.max)


@pytest.mark.parametrize("base", [timedelta(seconds=-1), timedelta(seconds=31)])
def test_a_base_outside_of_nothing_and_the_ceiling_is_refused(base: timedelta) -> None:
    with pytest.raises(ValueError, match="base must lie between 0 and the ceiling"):
        RetryPolicy(base=base)
