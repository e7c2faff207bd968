"""What an id that somebody has at hand may be: of a story, an event, an entry, or of what events are about."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from .entries import StreamEntry

# Of a correlation id so much is enough; less fits too much.
SHORTEST_BEGINNING = 6

_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_ENTRY_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_CLOCKS_DIFFER = 3_600_000  # milliseconds

BY_CORRELATION, BY_EVENT, BY_ENTRY, UNDECODABLE = "correlationId", "eventId", "entryId", "undecodable"


@dataclass(frozen=True, slots=True)
class SoughtId:
    """An id as somebody gave it: whole, a correlation id's beginning, or (`ending`) the end of something's id."""

    text: str
    ending: bool = False

    @classmethod
    def read(cls, given: str) -> SoughtId:
        """Where there is little room, `tail` shows `4bf92f3577b…` and `…2cbf83c5aaeb`: both may be pasted."""
        return cls(given.strip("…"), ending=given.startswith("…"))

    def named_in(self, entry: StreamEntry) -> str | None:
        """By what name an entry has the id: `correlationId`, `eventId`, `entryId`, or one in its data that ends in id.

        `UNDECODABLE` if the event can't be decoded, but mentions the id somewhere; `None` if it is not meant.
        """
        if self.text in (entry.id, entry.fields.get(b"entryId", b"").decode("utf-8", "replace")):
            return BY_ENTRY
        if not mentions(entry, self.text):
            return None  # by far the most: nothing to decode
        if entry.envelope is None:
            return UNDECODABLE
        if self._begins(entry.correlation_id or ""):
            return BY_CORRELATION
        if entry.envelope.metadata.event_id == self.text:
            return BY_EVENT
        ids = {name: value for name, value in entry.envelope.data.items() if name.lower().endswith("id")}
        return next((name for name, value in ids.items() if self._is(value)), None)

    @property
    def earliest(self) -> str:
        """The id of the first entry that can have to do with it, as far as its own time tells; `-` where it has none.

        Programs' clocks, which UUIDs of version 7 come from, may differ from the server's.
        """
        if match := _UUID7.fullmatch(self.text):
            began = int(match[1] + match[2], 16) - _CLOCKS_DIFFER
            return f"{max(0, began)}-0"
        return self.text if _ENTRY_ID.fullmatch(self.text) else "-"

    def _begins(self, correlation_id: str) -> bool:
        enough = len(self.text) >= SHORTEST_BEGINNING and not self.ending
        return correlation_id == self.text or (enough and correlation_id.startswith(self.text))

    def _is(self, value: object) -> bool:
        if not isinstance(value, str | int):
            return False
        return str(value).endswith(self.text) if self.ending else str(value) == self.text


def mentions(entry: StreamEntry, id: str) -> bool:
    """Whether it may stand somewhere in the event: much cheaper than to decode it."""
    raw = entry.fields.get(b"event", b"")
    return any(spelling in raw for spelling in _spellings(id))


@lru_cache
def _spellings(text: str) -> frozenset[bytes]:
    """How a string may stand in JSON."""
    return frozenset(json.dumps(text, ensure_ascii=plain)[1:-1].encode("utf-8", "replace") for plain in (True, False))
