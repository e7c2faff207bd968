"""The lookout: notices that another server has taken the place of the one we are connected to, and leaves the old one.

A server that the network has split off, or that an operator has replaced, goes on answering on connections it has: what
is written to it then is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Collection

from .connection import Connector, ServerPlace

log = logging.getLogger(__name__)

# Sentinels are asked often: that costs them, and not Redis.
ASK_SENTINELS_SECONDS = 1.0
# Otherwise it takes a new connection to see where the address leads now.
LOOK_SECONDS = 3.0
# An address that leads back to a server left so lately leads to several in turn: moving would never end.
SETTLED_SECONDS = 60.0
# A restart of Sentinels takes less.
BLIND_SECONDS = 10.0


class Lookout:
    """Looks, once in a while, where a new connection would lead, and has connections to anywhere else closed.

    What was under way there has an unknown outcome; what comes next goes to the new server, or waits for it.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._every = ASK_SENTINELS_SECONDS if connector.by_sentinel else LOOK_SECONDS
        self._left: dict[ServerPlace, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._seen_at = time.monotonic()
        self._told: str | None = None

    def start(self) -> None:
        """Begin to look, in the running event loop."""
        self._task = asyncio.create_task(self._run(), name="redis-lookout")

    async def stop(self) -> None:
        """Look no more."""
        while self._task is not None and not self._task.done():
            # Again and again: before Python 3.12 `wait_for`, within redis-py, can swallow a cancellation (gh-86296).
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    async def _run(self) -> None:
        """Look until cancelled, through whatever happens to servers and Sentinels."""
        while True:
            await asyncio.sleep(self._every * random.uniform(0.8, 1))
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - who looks no more would notice no failover
                self._blind(error)

    async def look(self) -> None:
        """Look once. Raises what Redis, Sentinels or the network raise."""
        now = await self._connector.whereabouts()
        if now is None:
            self._blind("the Sentinels that answer know of an older master than was known before")
            return
        if silence := self._connector.silence:
            self._blind(silence)
        else:
            self._see()
        if old := {place for place in self._connector.places() if not place.is_same(now)}:
            await self._move(old, now)

    async def _move(self, old: Collection[ServerPlace], now: ServerPlace) -> None:
        if time.monotonic() - self._left.get(now, float("-inf")) < SETTLED_SECONDS:
            if self._is_new("several servers"):
                log.error(
                    "the address of Redis leads to several servers in turn, events may be lost: %(server)s",
                    {"server": now},
                )
            return
        self._left |= dict.fromkeys(old, time.monotonic())
        why = "the Sentinels name" if self._connector.by_sentinel else "its address now leads to"
        log.warning(
            "leaving Redis at %(old)s: %(why)s %(new)s",
            {"old": ", ".join(sorted(map(str, old))), "why": why, "new": now},
        )
        await self._connector.leave(old)

    def _see(self) -> None:
        self._seen_at = time.monotonic()
        self._told = None

    def _blind(self, reason: object) -> None:
        """Say so where Sentinels don't tell; that Redis itself is away is for others to say."""
        log.debug("can't see where Redis is now: %(reason)s", {"reason": reason})
        if self._connector.by_sentinel and time.monotonic() - self._seen_at > BLIND_SECONDS and self._is_new("blind"):
            log.error(
                "too few Sentinels say who is master, a failover may go unnoticed: %(reason)s", {"reason": reason}
            )

    def _is_new(self, trouble: str) -> bool:
        before, self._told = self._told, trouble
        return before != trouble
