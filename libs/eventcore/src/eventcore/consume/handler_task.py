"""Running an `async` handler until it ends or its timeout is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from eventcore.commit.transaction import Transaction, plain

log = logging.getLogger(__name__)

# How long a handler may take to clean up, once it is cancelled.
CLEANING_SECONDS = 5.0
_LONGEST_SECONDS = 86_400.0 * 365  # of which every event loop can make a timer
# Handlers that did not end when they were cancelled: referred to, or they would be collected while they run.
_LEFT_RUNNING: set[asyncio.Task[Any]] = set()


class Failure(NamedTuple):
    """The error of a handler, boxed: even `isinstance` may fail on an odd error class."""

    error: BaseException


async def decision_of(handler: Callable[[], Any], seconds: float, *, or_none: bool) -> Transaction | Failure:
    """What a handler decides within so many seconds, or why it doesn't. Raises only our own cancellation.

    The handler runs in a task of its own, so that its own `CancelledError` is a failure like any other, and a handler
    that ignores its cancellation can be left running.
    """
    running = asyncio.create_task(_decision(handler, or_none))
    try:
        await _end_or_timeout(running, min(seconds, _LONGEST_SECONDS))
    finally:
        in_time = running.done()
        if not in_time:
            await _end(running)
    if running.done() and not running.cancelled() and running.exception() is None:
        return running.result()
    if not in_time:
        return Failure(TimeoutError(f"the handler did not finish within {seconds:g} s"))
    return Failure(_error_of(running))


async def _end_or_timeout(running: asyncio.Task[Transaction], seconds: float) -> None:
    """What `asyncio.wait` does, in half of its time for a single task."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    running.add_done_callback(end)
    timer = loop.call_later(seconds, end)
    try:
        await over
    finally:
        timer.cancel()


async def _decision(handler: Callable[[], Any], or_none: bool) -> Transaction:
    return plain(await handler(), or_none=or_none)


def _error_of(running: asyncio.Task[Transaction]) -> BaseException:
    error = None if running.cancelled() else running.exception()
    return error if error is not None else asyncio.CancelledError("the handler was cancelled, and not by its consumer")


async def _end(running: asyncio.Task[Any]) -> None:
    """Cancel a handler and wait for its end; one that ignores it is left running."""
    running.cancel()
    _LEFT_RUNNING.add(running)
    running.add_done_callback(_ended)
    await asyncio.wait((running,), timeout=CLEANING_SECONDS)
    if not running.done():
        log.error(
            "a handler goes on %(seconds)g s after it was cancelled: left running, its attempt has failed",
            {"seconds": CLEANING_SECONDS},
        )


def _ended(running: asyncio.Task[Any]) -> None:
    _LEFT_RUNNING.discard(running)
    if not running.cancelled():
        running.exception()  # looked at, so that asyncio does not complain
