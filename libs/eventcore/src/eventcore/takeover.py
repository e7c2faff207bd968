"""Takeover by heartbeat: consumers beat into one sorted set, and what a silent one held is claimed by its peers."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from . import telemetry
from .holding import Holding
from .retries import Retries
from .settings import Settings
from .streams import GroupMember

log = logging.getLogger(__name__)

_strangers_every = timedelta(seconds=30)


class Takeover:
    """Sends this consumer's heartbeats, and takes over from those whose heartbeats have stopped.

    A wrong guess is harmless: a delivery is committed by whoever acknowledges it first, and by nobody else.
    """

    def __init__(self, member: GroupMember, retries: Retries, holding: Holding, settings: Settings) -> None:
        self._member, self._retries, self._holding = member, retries, holding
        self._every = settings.heartbeat_seconds
        self._dead_after = timedelta(seconds=settings.dead_after_seconds)
        self._looked_for_strangers = time.monotonic()

    async def beat(self) -> None:
        """One heartbeat, and the takeovers that it shows to be due; then the pause until the next one."""
        await self.beat_once()
        await asyncio.sleep(self._every)

    async def beat_once(self) -> None:
        """Send a heartbeat; take over from the dead, as much as there is room for. Raises what Redis raises."""
        dead = await self._member.beat(self._dead_after)
        if time.monotonic() - self._looked_for_strangers > _strangers_every.total_seconds():
            self._looked_for_strangers = time.monotonic()
            dead += await self._member.strangers()
        for stream, consumer in dead:
            # At least one, so that a dead consumer without anything pending is removed even by a busy peer.
            count = max(1, self._holding.room)
            found = await self._member.take_over(stream, consumer, dead_after=self._dead_after, count=count)
            if found:
                log.warning("took over %d deliveries of %s from %s, which is silent", len(found), stream, consumer)
                telemetry.took_over(stream, self._member.group, len(found))
                self._retries.recover(found)
