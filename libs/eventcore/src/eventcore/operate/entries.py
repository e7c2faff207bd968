"""Entries of a stream, read page by page, and taken apart for people and programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from redis.asyncio import Redis

from eventcore.consume.delivery import entry_time
from eventcore.errors import Undecodable
from eventcore.events.envelope import Envelope, decode, timestamp
from eventcore.events.strict_json import parse_to_show

from .inspection.ids import text
from .inspection.replies import RawFields, Row, entries, newest_entries

PAGE_SIZE = 500


@dataclass(frozen=True)
class StreamEntry:
    """One entry of a stream, whatever is in it."""

    stream: str
    id: str
    fields: RawFields

    @property
    def time(self) -> datetime | None:
        """When it was appended, as far as its id says."""
        return entry_time(self.id)

    @cached_property
    def _decoded(self) -> tuple[Envelope | None, str | None]:
        try:
            return decode(self.fields), None
        except Undecodable as error:
            return None, str(error)

    @property
    def envelope(self) -> Envelope | None:
        """The event, if there is one that can be decoded."""
        return self._decoded[0]

    @property
    def error(self) -> str | None:
        """Why it can't be decoded."""
        return self._decoded[1]

    @property
    def key(self) -> str | None:
        """What the event is about: its order, or else the first of its data that is called an id.

        The tool doesn't know the events' classes, and so not their lanes.
        """
        data = self.envelope.data if self.envelope else {}
        names = [name for name in data if name.lower().endswith("id")]
        for name in ("orderId", *names):
            if isinstance(data.get(name), str | int):
                return str(data[name])
        return None

    @property
    def correlation_id(self) -> str | None:
        """The correlation id; of an event that carries none, its trace id."""
        metadata = self.envelope.metadata if self.envelope else None
        if metadata is None:
            return None
        traceparent = (metadata.traceparent or "").split("-")
        return metadata.correlation_id or (traceparent[1] if len(traceparent) == 4 else None)

    @property
    def event(self) -> Any:
        """The event as the JSON that it is; `None` if it is none."""
        return parsed(self.fields.get(b"event"))

    def as_json(self) -> dict[str, Any]:
        """For programs: `event` as it stands in the entry; of an undecodable one, all `fields` as text, and `error`."""
        envelope, event = self.envelope, self.event
        told = envelope is not None and event is not None
        return {
            "stream": self.stream,
            "id": self.id,
            "time": timestamp(self.time) if self.time else None,
            "type": envelope.type if envelope else None,
            "key": self.key,
            "eventId": envelope.metadata.event_id if envelope else None,
            "correlationId": self.correlation_id,
            "event": event,
            "error": self.error,
            "fields": None if told else {text(name): text(value) for name, value in self.fields.items()},
        }


def parsed(raw: bytes | None) -> Any:
    """JSON, or `None` for what is none."""
    try:
        return None if raw is None else parse_to_show(raw)
    except ValueError:
        return None


async def pages(redis: Redis, key: str, start: str = "-", end: str = "+") -> AsyncIterator[list[Row]]:
    """All entries between two ids, oldest first."""
    while rows := await entries(redis, key, start, end, PAGE_SIZE):
        yield rows
        if len(rows) < PAGE_SIZE:
            return
        start = f"({rows[-1][0]}"


async def newest(redis: Redis, key: str, count: int) -> tuple[str, str] | None:
    """The ids between which the newest entries stand, `count` at most; `None` if there are none."""
    last, first, end = None, "", "+"
    while count > 0 and (rows := await newest_entries(redis, key, end, min(count, PAGE_SIZE))):
        last, first = last or rows[0][0], rows[-1][0]
        count -= len(rows)
        end = f"({first}"
    return (first, last) if last else None


async def last_id(redis: Redis, key: str) -> str:
    """The id of the last entry that was ever appended to a stream that is there."""
    facts: Any = await redis.xinfo_stream(key)
    return text(facts["last-generated-id"])
