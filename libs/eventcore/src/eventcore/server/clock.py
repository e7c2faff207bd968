"""How far this machine's clock is off the server's, which decides about ages, leases and who is dead."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta

from eventcore.telemetry.instruments import LabelValues

log = logging.getLogger(__name__)

# More than NTP ever leaves: what such a clock stamps (events, ids, mails, webhooks) is wrong by so much.
TOLERATED = timedelta(seconds=5)
# An answer that took longer does not tell precisely enough what time it was.
PROMPT_ANSWER_SECONDS = 1.0
# What two such answers can't differ by, as long as they come from one clock.
JUMP_SECONDS = 1.5


class Clock:
    """Compares the clocks whenever the server's time comes along with an answer; asks for nothing itself."""

    def __init__(self) -> None:
        self.skew: float | None = None
        """Seconds by which this machine's clock is ahead; `None` while it is not known."""
        self.jumped_at: float = float("-inf")
        """When, by the monotonic clock, the server's last jumped ahead: after a failover it is another machine's."""
        self._server_ahead: float | None = None  # of the monotonic clock, which never jumps
        self._complained = False

    def note(self, server_milliseconds: int, asked_at: float) -> None:
        """Note what time it is there, asked for at `asked_at` by the monotonic clock."""
        answered_at = time.monotonic()
        if answered_at - asked_at > PROMPT_ANSWER_SECONDS:
            return
        server = server_milliseconds / 1000 + (answered_at - asked_at) / 2
        ahead, before = server - answered_at, self._server_ahead
        if before is not None and ahead - before > JUMP_SECONDS:
            self.jumped_at = answered_at
        self._server_ahead, self.skew = ahead, time.time() - server
        self._tell(self.skew)

    def shown(self) -> Mapping[LabelValues, float]:
        """What the metric of the skew shows; nothing while it is not known."""
        return {} if self.skew is None else {(): self.skew}

    def _tell(self, skew: float) -> None:
        off = abs(skew) > TOLERATED.total_seconds()
        if off and not self._complained:
            log.warning(
                "this machine's clock is %(seconds).0f s %(side)s the clock of Redis, so times in events are wrong",
                {"seconds": abs(skew), "side": "ahead of" if skew > 0 else "behind"},
            )
        elif self._complained and not off:
            log.info("this machine's clock agrees with the clock of Redis again")
        self._complained = off
