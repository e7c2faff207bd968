"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Return when all have ended, cancelled if need be; what they raise is nobody's business any more."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        # Again after a second: asyncio.wait_for of Python 3.11 may swallow a cancellation, and libraries use it.
        done, waiting = await asyncio.wait(waiting, timeout=1)
        for task in done:
            if not task.cancelled():
                task.exception()
