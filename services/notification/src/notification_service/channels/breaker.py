"""A circuit breaker: whether a receiver is down, and which notification may find out that it is up again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta

log = logging.getLogger(__name__)

# So many different notifications in a row: one that fails for ever says nothing about the others.
OPENS_AFTER = 5
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=15)
# Of more failed notifications than that the first are forgotten, and may try as if they were new.
MOST_RECEIVERS = 10_000


class Breaker:
    """A circuit breaker: while the receiver is down, one notification at a time goes to it, with pauses between.

    A receiver that answers, if only with refusals, may be well but for those that it refuses: each new notification
    goes to it once, and those that have failed before say nothing about it. `clock` tells seconds; `last_error` is
    what the latest failed with.
    """

    def __init__(self, channel: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._clock = channel, clock
        self._failed: dict[str, None] = {}
        self._in_a_row: set[str] = set()
        self.last_error = ""
        self._answers = False
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
        """How many different notifications have failed since the last one that did not."""
        return len(self._in_a_row)

    def wait(self, key: str) -> timedelta | None:
        """How long this notification should stay away; None if it may go now."""
        if not self.is_open:
            return None
        new = key not in self._failed
        if new and self._answers:
            return None
        # Those that have not failed yet go first: the others may fail for a reason of their own.
        left = self._next_probe_at + (0 if new else self._pause) - self._clock()
        if left <= 0 and self._probing is None:
            return None
        return timedelta(seconds=max(left, self._pause) * (1 + random.random()))

    def begin(self, key: str) -> None:
        """This notification goes to the receiver now."""
        if self.is_open and self._probing is None:
            self._probing = key

    def end(self, key: str) -> None:
        """It has come back, with whatever outcome."""
        if self._probing == key:
            self._probing = None

    def passed(self, key: str) -> None:
        """The receiver has taken this notification, or has said something about it: it is not down."""
        self._failed.pop(key, None)
        self._in_a_row.clear()
        if self._opened_at is not None:
            open_for = self._clock() - self._opened_at
            log.warning(
                "circuit breaker of %(channel)s closes: its receiver takes notifications again after %(seconds).0f s",
                {"channel": self._channel, "seconds": open_for},
            )
            self._opened_at = None
            self._pause = FIRST_PAUSE.total_seconds()

    def failed(
        self, key: str, error: Exception, *, retry_after: timedelta | None = None, answers: bool = False
    ) -> None:
        """The receiver could not be reached, or refused as it would refuse others (`answers`)."""
        if not (answers and key in self._failed):
            self._in_a_row.add(key)
        self._remember(key)
        self.last_error, self._answers = str(error), answers
        if not self.is_open and len(self._in_a_row) >= OPENS_AFTER:
            self._open()
        elif key == self._probing:
            self._pause = min(self._pause * 2, LONGEST_PAUSE.total_seconds())
        asked = min(retry_after or FIRST_PAUSE, LONGEST_PAUSE).total_seconds()
        self._next_probe_at = self._clock() + max(self._pause, asked)

    def _remember(self, key: str) -> None:
        self._failed.pop(key, None)  # to the end: the latest
        self._failed[key] = None
        if len(self._failed) > MOST_RECEIVERS:
            del self._failed[next(iter(self._failed))]

    def _open(self) -> None:
        self._opened_at = self._clock()
        log.warning(
            "circuit breaker of %(channel)s opens: %(count)d notifications in a row failed, others wait: %(error)s",
            {"channel": self._channel, "count": len(self._in_a_row), "error": self.last_error},
        )
