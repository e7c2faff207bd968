"""Portions: how many entries to read at once, by their size, to stay within a number of bytes."""

from __future__ import annotations

# Of entries as they stand in Redis; parsed, compiled and on their way back they take several times as much.
READ_BYTES = 8 * 1024 * 1024
HAND_BYTES = 16 * 1024 * 1024
WAITING_BYTES = 32 * 1024 * 1024
# Before any was seen, an entry may have as many.
_FIRST_BYTES = 256 * 1024
_LEAST_READ = 32


class Portions:
    """Goes by the sizes of the entries that were seen last: larger ones count at once, smaller ones step by step.

    After few entries not many are read: those that come in a sudden crowd may be of another size.
    """

    def __init__(self) -> None:
        self._bytes = float(_FIRST_BYTES)
        self._most = _LEAST_READ

    def saw(self, count: int, size: int) -> None:
        """Note that so many entries have come together, with so many bytes in all."""
        self._bytes = max(size / count, self._bytes / 2, 1.0)
        self._most = max(_LEAST_READ, 2 * count)

    def read(self, most: int) -> int:
        """How many to read next."""
        return self.within(READ_BYTES, min(most, self._most))

    def within(self, size: int, most: int) -> int:
        """How many fit into so many bytes: `most` at most, and one at least."""
        return max(1, min(most, int(size / self._bytes)))
