"""Dead letters: what a delivery becomes that can't be handled, and how it gets back to the group that failed it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from redis.asyncio import Redis

from eventcore.events.strict_json import parse_to_show
from eventcore.server.keys import LAST_ID, dead_letter_stream, retry_stream
from eventcore.server.script import Script

from .inspection.ids import text
from .inspection.replies import RawFields


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as it is read back; `event` is the raw event."""

    id: str
    stream: str
    event: bytes | None
    facts: dict[str, str]

    @classmethod
    def of(cls, stream: str, letter_id: str, fields: RawFields) -> Letter:
        """What stands in an entry of a stream's dead letters."""
        facts = {text(name): text(value) for name, value in fields.items() if name != b"event"}
        return cls(letter_id, stream, fields.get(b"event"), facts)

    @property
    def group(self) -> str:
        """The group that could not handle it."""
        return self.facts.get("group", "")

    def as_json(self) -> dict[str, Any]:
        """For programs; the event is parsed where it can be."""
        try:
            event: Any = parse_to_show(self.event) if self.event is not None else None
        except ValueError:
            event = None if self.event is None else self.event.decode("utf-8", "replace")
        return {"id": self.id, **self.facts, "event": event}


@cache
def _redrive_script() -> Script:
    return Script.named("redrive", allow_oom=False)


class DeadLetters:
    """The dead letters of one stream: read, redrive, purge."""

    def __init__(self, redis: Redis, stream: str, *, prefix: str = "") -> None:
        self._redis, self._prefix = redis, prefix
        self.stream = stream
        self.name = dead_letter_stream(stream)

    async def count(self) -> int:
        """How many there are."""
        return int(await self._redis.xlen(self._prefix + self.name))

    async def list(
        self, *, group: str | None = None, ids: Sequence[str] = (), page: int = 500
    ) -> AsyncIterator[Letter]:
        """The letters, oldest first: all, those of one group, or those with the given ids."""
        if ids:
            for letter_id in ids:
                for row in await self._rows(letter_id, letter_id):
                    if group is None or self._read(row).group == group:
                        yield self._read(row)
            return
        start = "-"
        while start != f"({LAST_ID}" and (rows := await self._rows(start, "+", page)):
            for row in rows:
                found = self._read(row)
                if group is None or found.group == group:
                    yield found
            start = f"({rows[-1][0].decode()}"

    async def redrive(self, letters: Sequence[Letter]) -> int:
        """Hand events back to the groups that failed them, and to no other; how many this call has handed back.

        Each letter is handed back at most once, however often and by however many this is called. The event keeps its
        id and trace. Letters without an event (an entry that had none) stay where they are.
        """
        done = 0
        for each in letters:
            if each.event is None or not each.group:
                continue
            keys = [self._prefix + self.name, self._prefix + retry_stream(self.stream, each.group)]
            done += int(await self._eval(_redrive_script(), keys, [each.id, each.group]))
        return done

    async def purge(self, letters: Sequence[Letter]) -> int:
        """Delete letters for good; how many were there."""
        return int(await self._redis.xdel(self._prefix + self.name, *(each.id for each in letters))) if letters else 0

    async def _rows(self, first: str, last: str, count: int | None = None) -> Sequence[Any]:
        return await self._redis.xrange(self._prefix + self.name, first, last, count=count) or []

    async def _eval(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        return await self._redis.eval(script.source, len(keys), *keys, *arguments)

    def _read(self, row: Any) -> Letter:
        entry_id, fields = row
        return Letter.of(self.stream, entry_id.decode(), fields)
