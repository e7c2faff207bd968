"""The retry policy: how often a failing delivery is tried, and how long to wait between attempts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from operator import index

# Beyond these nobody waits, and times can't be counted with any more.
MOST_ATTEMPTS, LONGEST_CEILING = 1_000_000, timedelta(days=730)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attempt `n` is followed by a wait drawn evenly from zero to `min(ceiling, base * 2**(n - 1))`, as described in
    "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). After `attempts` attempts the delivery is
    dead-lettered.
    """

    attempts: int = 5
    base: timedelta = timedelta(milliseconds=200)
    ceiling: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        if not 1 <= index(self.attempts) <= MOST_ATTEMPTS:
            raise ValueError(f"attempts must be from 1 to {MOST_ATTEMPTS:,}, not {self.attempts}")
        if not timedelta(0) <= self.base <= self.ceiling:
            raise ValueError(f"base must lie between 0 and the ceiling of {self.ceiling}, not {self.base}")
        if self.ceiling > LONGEST_CEILING:
            raise ValueError(f"ceiling must be at most {LONGEST_CEILING}, not {self.ceiling}")

    def delay(self, attempt: int) -> timedelta | None:
        """How long to wait after attempt number `attempt` (from 1) has failed; `None` when attempts are spent."""
        return None if attempt >= self.attempts else self.backoff(attempt)

    def backoff(self, attempt: int) -> timedelta:
        """The same wait without a limit to the number of attempts."""
        longest = min(self.ceiling, self.base * (1 << min(attempt - 1, 20)))
        return longest * random.random()
