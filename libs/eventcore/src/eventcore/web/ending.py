"""The end of a service: each part has its time, and all of them together DRAIN_SECONDS and a little more."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

# What an end takes beyond DRAIN_SECONDS at most. The chart's grace period leaves five seconds.
LEAVING_SECONDS = 3.5
# Of these, what is kept for leaving the groups, for resources (the store is one), and for the last telemetry.
GROUPS_SECONDS, RESOURCES_SECONDS, TELEMETRY_SECONDS = 1.25, 0.75, 1.0
# So long after all that the process ends, whatever still runs.
LAST_RESORT_SECONDS = 0.5


class Ending:
    """A clock that starts when a service is told to end. Before that there is no limit."""

    def __init__(self, drain_seconds: float) -> None:
        self.drain_seconds = drain_seconds
        self._by: float | None = None
        self._status = 1

    def begin(self) -> None:
        """Start the clock, and see to it that the process ends. Harmless when done twice."""
        if self._by is not None:
            return
        seconds = self.drain_seconds + LEAVING_SECONDS
        self._by = time.monotonic() + seconds
        last = threading.Timer(seconds + LAST_RESORT_SECONDS, self._end_at_once, [asyncio.get_running_loop(), seconds])
        last.daemon = True
        last.start()

    def left(self, *, reserve: float = 0.0, most: float) -> float:
        """Seconds that are left for something which may take `most`, and must leave `reserve` for what follows."""
        return most if self._by is None else max(0.1, min(most, self._by - reserve - time.monotonic()))

    @asynccontextmanager
    async def within(self, seconds: float, what: str) -> AsyncIterator[None]:
        """Cancel the block when its time is over, say so, and go on behind it."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("%(part)s did not end within %(seconds).1f s and is left", {"part": what, "seconds": seconds})

    def ended(self, status: int) -> None:
        """All that matters has ended: with this status the process ends, even if something holds it up."""
        self._status = status

    def _end_at_once(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """The last resort: something swallows its cancelling, or waits in a thread."""
        try:
            names = sorted({_described(task) for task in asyncio.all_tasks(loop)})
        except RuntimeError:  # tasks came and went meanwhile
            names = []
        still = ", ".join(names[:10]) or "a thread"
        log.error(
            "not ended within %(seconds)g s: ending at once, although this still runs: %(tasks)s",
            {"seconds": seconds, "tasks": still},
        )
        sys.stderr.flush()
        os._exit(self._status)


def _described(task: asyncio.Task[object]) -> str:
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', 'unknown')})"
