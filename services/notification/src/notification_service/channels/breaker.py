"""Whether a receiver is down, and who may find out that it is up again."""

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta

__all__ = ["Breaker"]

log = logging.getLogger(__name__)

# So many different notifications in a row: one that fails for ever says nothing about the others.
OPENS_AFTER = 5
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=15)


class Breaker:
    """A circuit breaker: while the receiver is down, one notification at a time goes to it, with pauses between.

    `clock` tells seconds; `last_error` is what the latest failed with.
    """

    def __init__(self, channel: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._clock = channel, clock
        self._failed: set[str] = set()
        self.last_error = ""
        self._opened_at: float | None = None
        self._pause = FIRST_PAUSE.total_seconds()
        self._next_probe_at = 0.0
        self._probing: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the receiver is down."""
        return self._opened_at is not None

    @property
    def failed_in_a_row(self) -> int:
        """How many different notifications have failed since the last answer."""
        return len(self._failed)

    def wait(self, key: str) -> timedelta | None:
        """How long this notification should stay away; None if it may go now."""
        if not self.is_open:
            return None
        # Those that have not failed yet go first: the others may fail for a reason of their own.
        due = self._next_probe_at + (self._pause if key in self._failed else 0)
        left = due - self._clock()
        if left <= 0 and self._probing is None:
            return None
        return timedelta(seconds=max(left, self._pause) * (1 + random.random()))

    def begin(self, key: str) -> None:
        """This notification goes to the receiver now."""
        if self.is_open:
            self._probing = key

    def end(self, key: str) -> None:
        """It has come back, with whatever outcome."""
        if self._probing == key:
            self._probing = None

    def answered(self) -> None:
        """The receiver has taken a notification, or has said something about it: it is not down."""
        self._failed.clear()
        if self._opened_at is not None:
            log.warning(
                "%s: circuit breaker closes: answers again after %.0f s",
                self._channel,
                self._clock() - self._opened_at,
            )
            self._opened_at = None
            self._pause = FIRST_PAUSE.total_seconds()

    def failed(self, key: str, error: Exception, retry_after: timedelta | None) -> bool:
        """The receiver could not be told; whether this opens the breaker."""
        self._failed.add(key)
        self.last_error = str(error)
        longest = LONGEST_PAUSE.total_seconds()
        opens = not self.is_open and len(self._failed) >= OPENS_AFTER
        if opens:
            self._opened_at = self._clock()
            log.warning(
                "%s: circuit breaker opens: %d notifications in a row failed, others wait: %s",
                self._channel,
                len(self._failed),
                error,
            )
        elif self._probing == key:
            self._pause = min(self._pause * 2, longest)
        asked = retry_after.total_seconds() if retry_after is not None else 0.0
        self._next_probe_at = self._clock() + max(self._pause, min(asked, longest))
        return opens
