"""Waiting for one of several things, and cancelling the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any


async def either(something: Awaitable[object], other: asyncio.Event, seconds: float) -> None:
    """Wait for something, or for the event, or for so long. Raises what the first of them raises."""
    waiting = [asyncio.ensure_future(something), asyncio.ensure_future(other.wait())]
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(waiting)
    for each in done:
        each.result()


async def cancel_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel these, and return when they have ended."""
    chosen = list(tasks)
    for task in chosen:
        task.cancel()
    await asyncio.gather(*chosen, return_exceptions=True)
