"""Takeover by heartbeat: consumers beat into one sorted set, and what a silent one held is claimed by its peers."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from eventcore.server.pipe import argument_shown
from eventcore.settings import Settings
from eventcore.telemetry.measurements import takeovers

from .attempts import Retries
from .group_member import GroupMember
from .in_flight import Holding

log = logging.getLogger(__name__)

# How often to look for what nobody would miss: strangers' deliveries, and our own whose reply never reached us.
LOOK_AROUND_EVERY = timedelta(seconds=30)
# What is pending on us for so long without our holding it was read for us by a connection that we had given up.
LOST_AFTER = timedelta(seconds=15)


class Takeover:
    """Sends this consumer's heartbeats, and takes over from those whose heartbeats have stopped.

    A wrong guess is harmless: a delivery is committed by whoever acknowledges it first, and by nobody else. While
    `resting` it only beats.
    """

    def __init__(self, member: GroupMember, retries: Retries, holding: Holding, settings: Settings) -> None:
        self._member, self._retries, self._holding = member, retries, holding
        self._dead_after = timedelta(seconds=settings.dead_after_seconds)
        self._looked_around = self._mercy_until = time.monotonic()
        self._beaten: float | None = None
        self._silent_until = float("-inf")
        self.resting = False

    async def beat_once(self) -> None:
        """Send a heartbeat; take over from the dead, as much as there is room for. Raises what Redis raises."""
        dead = await self._member.beat(self._dead_after)
        if self._must_rest():
            return
        if time.monotonic() - self._looked_around > LOOK_AROUND_EVERY.total_seconds():
            self._looked_around = time.monotonic()
            dead += await self._member.strangers()
            for stream in self._member.streams:
                self._retries.recover(await self._member.pending(stream, idle=LOST_AFTER))
        for stream, name in dead:
            # At least one, so that a dead consumer without anything pending is removed even by a busy peer.
            count = max(1, self._holding.room)
            found, lost = await self._member.take_over(stream, name, dead_after=self._dead_after, count=count)
            self._holding.take(lost)
            if found:
                place = {"group": self._member.group, "stream": stream, "peer": argument_shown(name)}
                log.warning(
                    "%(group)s took over %(count)d deliveries of %(stream)s from %(peer)s, which sends no heartbeat",
                    {"count": len(found), **place},
                )
                takeovers.add(stream, self._member.group, count=len(found))
                self._retries.recover(found)

    def _must_rest(self) -> bool:
        """Whether to leave the others alone: what kept us from beating may have kept them too, and be over only now."""
        now, before = time.monotonic(), self._beaten
        self._beaten = now
        mercy = 2 * self._dead_after.total_seconds()
        if before is not None and now - before > self._dead_after.total_seconds() / 2:
            self._mercy_until, self._silent_until = now + mercy, now
        # After a jump of the server's clock the beats of all others are of the clock before: they only look old.
        return self.resting or now < max(self._mercy_until, self._member.clock.jumped_at + mercy)

    def surely_ours(self, since: float) -> bool:
        """Whether no peer can have taken anything from us since then: our heartbeats have not been late."""
        late = self._beaten is None or time.monotonic() - self._beaten > self._dead_after.total_seconds() / 2
        return not late and since > max(self._silent_until, self._member.clock.jumped_at)
