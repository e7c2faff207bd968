"""Lanes: deliveries with the same key are handled one after another, in the order in which they came."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Who may go, and who waits behind whom."""

    def __init__(self) -> None:
        self._behind: dict[str, deque[T] | None] = {}  # None: a lane in which nobody waits

    def enter(self, key: str, item: T) -> bool:
        """Whether `item` may go now; otherwise it waits until `leave` hands it out."""
        if key not in self._behind:
            self._behind[key] = None
            return True
        waiting = self._behind[key]
        if waiting is None:
            waiting = self._behind[key] = deque()
        waiting.append(item)
        return False

    def leave(self, key: str) -> T | None:
        """Say that whoever had the lane is done; the next one, who has it from now on."""
        waiting = self._behind.pop(key, None)
        if not waiting:
            return None
        self._behind[key] = waiting
        return waiting.popleft()

    def __len__(self) -> int:
        return len(self._behind)
