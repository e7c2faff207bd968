"""Redis's wire format (RESP2), as far as a proxy must know it: where a message ends, and what a command says."""

from __future__ import annotations

import hiredis


def end_of(data: bytes | bytearray, start: int = 0) -> int | None:
    """Where the message that begins at `start` ends; `None` while it is not all there."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, after = data[start : start + 1], line_end + 2
    if kind == b"$":
        size = int(data[start + 1 : line_end])
        end = after if size < 0 else after + size + 2
        return end if end <= len(data) else None
    if kind == b"*":
        for _ in range(int(data[start + 1 : line_end])):
            nested = end_of(data, after)
            if nested is None:
                return None
            after = nested
    return after


class Messages:
    """Whole messages, byte for byte, out of what arrives piece by piece."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        self._data += data
        found: list[bytes] = []
        start = 0
        while start < len(self._data) and (end := end_of(self._data, start)) is not None:
            found.append(bytes(self._data[start:end]))
            start = end
        del self._data[:start]
        return found


def words(command: bytes) -> list[bytes]:
    """The words of a command as a client sends it."""
    reader = hiredis.Reader()
    reader.feed(command)
    parsed: list[bytes] = reader.gets()
    return parsed
