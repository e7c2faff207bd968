"""The pulse: whether our own heartbeats have been on time, so that peers cannot have taken us for dead."""

from __future__ import annotations

import time
from datetime import timedelta

from eventcore.server.clock import Clock


class Pulse:
    """When this consumer's heartbeats were sent, and what follows from it for peers' and our own deliveries."""

    def __init__(self, dead_after: timedelta, clock: Clock) -> None:
        self.dead_after = dead_after
        self._patience, self._clock = dead_after.total_seconds(), clock
        self._mercy_until = time.monotonic()
        self._beaten: float | None = None
        self._silent_until = float("-inf")

    def beat(self) -> None:
        """A heartbeat was sent."""
        now = time.monotonic()
        if self._beaten is not None and now - self._beaten > self._patience / 2:
            self._mercy_until, self._silent_until = now + 2 * self._patience, now
        self._beaten = now

    @property
    def merciful(self) -> bool:
        """Whether to take nothing over yet: what delayed our heartbeats may have delayed those of peers too."""
        # After a jump of the server's clock the beats of all others are of the clock before: they only look old.
        return time.monotonic() < max(self._mercy_until, self._clock.jumped_at + 2 * self._patience)

    def surely_ours(self, since: float) -> bool:
        """Whether no peer can have taken anything from us since then: our heartbeats have not been late."""
        late = self._beaten is None or time.monotonic() - self._beaten > self._patience / 2
        return not late and since > max(self._silent_until, self._clock.jumped_at)
