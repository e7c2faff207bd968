"""Takeover by heartbeat: consumers write the time into one sorted set, and peers claim what a silent one held."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from eventcore.server.pipe import argument_shown
from eventcore.telemetry.measurements import takeovers

from .attempts import Retries
from .group_member import GroupMember
from .in_flight import Holding
from .pulse import Pulse

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

    def __init__(self, member: GroupMember, pulse: Pulse, retries: Retries, holding: Holding) -> None:
        self._member, self._pulse, self._retries, self._holding = member, pulse, retries, holding
        self._looked_around = time.monotonic()
        self.resting = False

    async def beat_once(self) -> None:
        """Send a heartbeat; take over from the dead, as much as there is room for. Raises what Redis raises."""
        dead = await self._member.beat(self._pulse.dead_after)
        self._pulse.beat()
        if self.resting or self._pulse.merciful:
            return
        if time.monotonic() - self._looked_around > LOOK_AROUND_EVERY.total_seconds():
            self._looked_around = time.monotonic()
            dead += await self._member.strangers()
            for stream in self._member.streams:
                self._retries.recover(await self._member.pending(stream, idle=LOST_AFTER))
        for stream, name in dead:
            # At least one, so that a dead consumer without anything pending is removed even by a busy peer.
            count = max(1, self._holding.room)
            found, lost = await self._member.take_over(stream, name, dead_after=self._pulse.dead_after, count=count)
            self._holding.take(lost)
            if found:
                place = {"group": self._member.group, "stream": stream, "peer": argument_shown(name)}
                log.warning(
                    "%(group)s took over %(count)d deliveries of %(stream)s from %(peer)s, which sends no heartbeat",
                    {"count": len(found), **place},
                )
                takeovers.add(stream, self._member.group, count=len(found))
                self._retries.recover(found)
