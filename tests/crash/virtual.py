"""An event loop whose time is made up: nothing waits, and time passes only when it is told to."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any
from unittest import mock

from eventcore.consume import aside, consumer, deciding, takeover
from eventcore.consume import attempts as retries
from eventcore.consume import in_flight as holding


def _nothing() -> None:
    pass


class _Clock(selectors.SelectSelector):
    """Where a loop waits for something to happen: instead, its next timer's time comes, or the loop stops."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.until = 0.0
        self.stop: Callable[[], None] = _nothing

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or self.now + timeout > self.until:
            self.now = self.until
            self.stop()
        else:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready, and then stops; no file descriptor is ever ready here."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)
        self._clock.stop = self.stop

    def time(self) -> float:
        return self._clock.now

    def settle(self, seconds: float = 0.0) -> None:
        """Let so much time pass; return when there is nothing left to run before more time passes.

        Or at once, if something ends its process: nothing more of that process may run.
        """
        self._clock.until = self._clock.now + seconds
        with suppress(SystemExit):
            self.run_forever()

    def monotonic(self) -> float:
        """Stands in for `time.monotonic`."""
        return self._clock.now


class _Time:
    """Stands in for the module `time`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.monotonic = loop.monotonic

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def virtual_time(loop: VirtualLoop) -> Iterator[None]:
    """Have the consumer's modules tell the time by this loop, within the block."""
    modules: tuple[ModuleType, ...] = (aside, consumer, deciding, holding, retries, takeover)
    patches = [mock.patch.object(module, "time", _Time(loop)) for module in modules]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
