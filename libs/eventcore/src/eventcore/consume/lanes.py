"""Lanes: deliveries with the same key are handled one after another, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """The first of each lane is handled, the others wait behind it. `waiting` counts those of all lanes."""

    def __init__(self) -> None:
        self._behind: dict[str, deque[T] | None] = {}  # None: a lane in which nobody waits
        self.waiting = 0

    def enter(self, key: str, item: T) -> bool:
        """Whether `item` may go now; otherwise it waits until `leave` hands it out."""
        if key not in self._behind:
            self._behind[key] = None
            return True
        waiting = self._behind[key]
        if waiting is None:
            waiting = self._behind[key] = deque()
        waiting.append(item)
        self.waiting += 1
        return False

    def leave(self, key: str) -> T | None:
        """The first of the lane is done: the next one, which is first now, or `None`."""
        waiting = self._behind.pop(key, None)
        if not waiting:
            return None
        self._behind[key] = waiting
        self.waiting -= 1
        return waiting.popleft()

    def cut(self, key: str, most: int = 0) -> list[T]:
        """Remove those that wait in this lane, in order, after the first `most`; the one being handled stays."""
        waiting = self._behind.get(key) or deque()
        taken = [waiting.pop() for _ in range(len(waiting) - most)]
        self.waiting -= len(taken)
        return taken[::-1]

    def queues(self) -> Iterator[tuple[str, Sequence[T]]]:
        """The lanes in which somebody waits, and who does."""
        return ((key, waiting) for key, waiting in self._behind.items() if waiting)

    def __len__(self) -> int:
        return len(self._behind)
