"""Who blocks the event loop: its delay is measured from within, and what holds it up is named from beside it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from .measurements import event_loop_delay

log = logging.getLogger(__name__)

# How often the loop is asked to turn, and how late it may be before somebody is to blame.
TICK_SECONDS = 0.1
BLOCKED_SECONDS = 0.5
_LOOK_SECONDS = 0.2
_DEEPEST = 12


class Culprit(NamedTuple):
    """What was running while the loop stood still: who, as far as we know them, where, and how they came there."""

    who: str
    where: str
    stack: str


class LoopWatch:
    """Watches the running event loop, from a thread of its own, until `run` is cancelled.

    `functions` are called by their names here when they block. A loop that never turns again can't tell anybody (its
    probes go unanswered): the thread has then said who it was.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._names = {code: name for name, each in functions.items() if (code := _code_of(each)) is not None}
        self._ended = threading.Event()
        self._turned_at = self._noticed_at = time.monotonic()
        self._culprit: Culprit | None = None

    async def run(self) -> None:
        """Measure the delay, forever."""
        loop = asyncio.get_running_loop()
        self._turned_at = time.monotonic()
        watched = threading.current_thread()
        threading.Thread(target=self._watch, args=[watched], name="event-loop-watch", daemon=True).start()
        try:
            while True:
                due = loop.time() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                self._turned(max(0.0, loop.time() - due))
        finally:
            self._ended.set()

    def _turned(self, delay: float) -> None:
        event_loop_delay.record(delay)
        self._turned_at = time.monotonic()
        culprit, self._culprit = self._culprit, None
        if culprit is not None:
            said = {"culprit": culprit.who, "seconds": delay}
            log.warning("the event loop runs again: %(culprit)s blocked it for %(seconds).1f s", said)

    def _watch(self, watched: threading.Thread) -> None:
        turned_at, starved_before = self._turned_at, starved(watched)
        while not self._ended.wait(_LOOK_SECONDS):
            if turned_at != self._turned_at:
                turned_at, starved_before = self._turned_at, starved(watched)
                continue
            silence = time.monotonic() - turned_at - TICK_SECONDS
            if silence < BLOCKED_SECONDS or turned_at == self._noticed_at:
                continue
            # A loop that may run and gets no processor is not blocked by anything of ours.
            if silence - (starved(watched) - starved_before) > BLOCKED_SECONDS / 2:
                self._noticed_at = turned_at
                self._accuse(sys._current_frames().get(watched.ident or 0), silence)

    def _accuse(self, frame: FrameType | None, silence: float) -> None:
        if frame is None:
            return
        culprit = self._culprit = describe(frame, self._names)
        log.warning(
            "the event loop has been blocked for %(seconds).1f s by %(culprit)s, at %(place)s",
            {"seconds": silence, "culprit": culprit.who, "place": culprit.where},
            extra={"stack": culprit.stack},
        )


def starved(thread: threading.Thread) -> float:
    """For how many seconds of its life a thread could have run but had no processor; 0 where the system won't say."""
    try:
        return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _code_of(function: Any) -> CodeType | None:
    """The code that runs when this is called, as far as it is Python's."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):  # an object may be the handler
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def describe(frame: FrameType, names: Mapping[CodeType, str]) -> Culprit:
    """Whose code a stack is running: the innermost function that has a name here, or else where it is."""
    frames = [each for each, _ in traceback.walk_stack(frame)]
    where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
    who = next((names[each.f_code] for each in frames if each.f_code in names), frame.f_code.co_qualname)
    return Culprit(who, where, "".join(traceback.format_stack(frame, limit=_DEEPEST)))
