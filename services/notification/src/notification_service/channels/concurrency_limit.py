"""How many notifications may be with a receiver at once: fewer while it is too slow for so many."""

from __future__ import annotations

import asyncio
import time
from collections import deque


class ConcurrencyLimit:
    """A queue before a number of places that follows what the receiver takes, as TCP does (RFC 5681).

    A sign of overload halves the number; each answer in good time makes room for one more, and from half of the
    number before on more slowly.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = self._threshold = float(most)
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._halved_at = float("-inf")

    @property
    def current(self) -> int:
        """How many may be there at once now."""
        return int(self._places)

    async def acquire(self) -> None:
        """Wait for a place, first come, first served."""
        if self._taken < self.current and not self._queue:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place was given to it meanwhile
                self.release()
            raise

    def release(self) -> None:
        """Give the place to the next in the queue."""
        self._taken -= 1
        self._fill()

    def grow(self) -> None:
        """The receiver answered in good time."""
        step = 1.0 if self._places < self._threshold else 1 / self._places
        self._places = min(float(self._most), self._places + step)
        self._fill()

    def halve(self, began: float) -> None:
        """What began then was too much for the receiver. All that were with it at the same time count once."""
        if began >= self._halved_at:
            self._halved_at = time.monotonic()
            self._places = self._threshold = max(1.0, self._places / 2)

    def restart_at_one(self) -> None:
        """The receiver was down."""
        self._places, self._threshold = 1.0, max(1.0, self._places / 2)

    def _fill(self) -> None:
        while self._queue and self._taken < self.current:
            turn = self._queue.popleft()
            if not turn.done():  # else its owner has gone
                self._taken += 1
                turn.set_result(None)
