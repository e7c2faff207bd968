"""How many notifications may be with a receiver at once: fewer while it is too slow for so many."""

import asyncio
import time
from collections import deque

__all__ = ["ConcurrencyLimit"]


class ConcurrencyLimit:
    """A queue before a number of places that follows what the receiver takes, as TCP does (RFC 5681).

    After a sign of overload there are half as many; each answer in good time makes room for one more, from there on
    more slowly.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = self._calm = float(most)
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._fewer_since = float("-inf")

    @property
    def places(self) -> int:
        """How many may be there at once now."""
        return int(self._places)

    async def take(self) -> None:
        """Wait for a place, first come, first served."""
        if self._taken < self.places and not self._queue:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was called in meanwhile
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave the place to whoever waits."""
        self._taken -= 1
        self._call_in()

    def more(self) -> None:
        """It takes what it is given."""
        step = 1.0 if self._places < self._calm else 1 / self._places
        self._places = min(float(self._most), self._places + step)
        self._call_in()

    def fewer(self, began: float) -> None:
        """Something that began then was too much for it. Those that were with it at the same time count once."""
        if began >= self._fewer_since:
            self._fewer_since = time.monotonic()
            self._places = self._calm = max(1.0, self._places / 2)

    def one(self) -> None:
        """Begin again with one."""
        self._places, self._calm = 1.0, max(1.0, self._places / 2)

    def _call_in(self) -> None:
        while self._queue and self._taken < self.places:
            turn = self._queue.popleft()
            if not turn.done():  # else its owner has gone
                self._taken += 1
                turn.set_result(None)
