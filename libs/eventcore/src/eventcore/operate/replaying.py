"""Replaying: past events of a stream are handed to one group once more, by its retry stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from eventcore.server.keys import aside_entries_key, retry_stream
from eventcore.server.script import Script

from .entries import StreamEntry, pages
from .inspection import Inspector
from .inspection.ids import parse_id, text
from .inspection.replies import Row

# Handed over in one script, which must not keep others waiting.
BATCH = 100


class NoSuchGroup(Exception):
    """The group does not read the stream, so nothing of it is past."""


@dataclass(slots=True)
class Replayed:
    """What a replay has met: events by type; how many of them were handed over, and how many the group still has."""

    found: Counter[str] = field(default_factory=Counter)
    handed: int = 0
    waiting: int = 0
    full_at: str | None = None
    """The first entry for which the retry stream had no room: it and all behind it were left."""


@cache
def _replay_script() -> Script:
    return Script.named("replay", allow_oom=False)


class Replay:
    """Hands entries of a stream to a group once more, at most `cap` in its retry stream; with `dry` it only counts.

    What the group has not finished with, wherever it waits, is left out: so a replay that is repeated, or runs beside
    another, adds nothing while the first has not been handled.
    """

    def __init__(self, inspector: Inspector, stream: str, group: str, *, cap: int, dry: bool = False) -> None:
        self._inspector, self._redis, self._group = inspector, inspector.redis, group
        self._stream, self._retries = stream, retry_stream(stream, group)
        self._keys = [inspector.key(each) for each in (stream, self._retries, aside_entries_key(stream, group))]
        self._cap, self._dry = cap, dry
        self._added: set[str] = set()
        self._last = "0-0"
        self.result = Replayed()

    async def run(self, first: str, last: str, types: Collection[str] = ()) -> Replayed:
        """Replay what stands between two ids and has one of these types; without types, everything.

        What the group has not been given yet is not past. Raises `NoSuchGroup`.
        """
        group = (await self._inspector.groups(self._stream)).get(self._group)
        if group is None:
            raise NoSuchGroup(f"{self._group} does not read {self._stream}")
        given = parse_id(text(group["last-delivered-id"]))
        await self._look_at_retries()
        async for page in pages(self._redis, self._keys[0], first, last):
            past = [StreamEntry(self._stream, *row) for row in page if parse_id(row[0]) <= given]
            chosen = [each for each in past if b"event" in each.fields and (not types or _type(each) in types)]
            self.result.found.update(_type(each) for each in chosen)
            for at in range(0, len(chosen), BATCH):
                if not await self._hand([each.id for each in chosen[at : at + BATCH]]):
                    self.result.full_at = chosen[at].id
                    return self.result
            if len(past) < len(page):
                break
        return self.result

    async def _look_at_retries(self) -> None:
        """Note what is pending in the retry stream. What has not been read stands behind `last`: the script says so."""
        row = (await self._inspector.groups(self._retries)).get(self._group)
        if row is None:
            return
        self._last = text(row["last-delivered-id"])
        start = "-"
        while pending := await self._pending(start):
            ids = {text(each["message_id"]) for each in pending}
            async for page in pages(self._redis, self._keys[1], min(ids, key=parse_id), max(ids, key=parse_id)):
                self._note([row for row in page if row[0] in ids])
            start = f"({text(pending[-1]['message_id'])}"

    async def _pending(self, start: str) -> Sequence[Any]:
        found: Sequence[Any] = await self._redis.xpending_range(self._keys[1], self._group, start, "+", 1000)
        return found

    def _note(self, rows: Sequence[Row]) -> None:
        self._added.update(text(fields.get(b"entryId", b"")) for _, fields in rows)

    async def _hand(self, ids: Sequence[str]) -> bool:
        """Hand a batch over; whether there was room for it."""
        while True:
            new = [each for each in ids if each not in self._added]
            room = self._cap - (self.result.handed if self._dry else 0)
            arguments = [self._group, str(room), self._last, str(int(self._dry)), *new]
            last, *counts = await self._redis.eval(_replay_script().source, 3, *self._keys, *arguments)
            if counts:
                break
            async for page in pages(self._redis, self._keys[1], f"({self._last}"):
                self._note(page)
            self._last = text(last)
        if counts[0] == b"full":
            return False
        self._last = text(last)
        self.result.handed += counts[0]
        self.result.waiting += counts[1] + len(ids) - len(new)
        self._added.update(() if self._dry else new)
        return True


def _type(entry: StreamEntry) -> str:
    return entry.envelope.type if entry.envelope else "undecodable"
