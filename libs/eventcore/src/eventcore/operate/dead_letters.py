"""Dead letters: what a delivery becomes that can't be handled, and how it gets back to the group that failed it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from redis.asyncio import Redis

from eventcore.commit.transaction import Append
from eventcore.consume.delivery import Delivery, Reason, unknown
from eventcore.consume.group_member import LAST_ID, dead_letter_stream, retry_stream
from eventcore.events.envelope import timestamp
from eventcore.events.strict_json import parse_to_show
from eventcore.server.script import Script
from eventcore.telemetry import traceparent_of
from eventcore.telemetry.trouble import kind_of, text_of, traceback_of

_LONGEST_ERROR = 2_000
# In bytes: nobody reads an event of half of this, and a letter takes several times its size on its way.
LARGEST_KEPT = 1024 * 1024
_LONGEST_FIELDS = 64 * 1024
_longest_type = 200
# A redriven event brings along under this name (of a letter's fact, and of an entry's field) which attempt had failed.
failed_attempt = b"failedAttempt"


def letter(
    delivery: Delivery, error: BaseException, reason: Reason, group: str, consumer: str, max_length: int
) -> Append:
    """The write that puts a delivery into its stream's dead letters: the raw event, and everything about the failure.

    Of a redriven delivery that fails again, the letter names the entry as which the event first stood in its stream.
    """
    metadata = delivery.metadata
    source = delivery.stream.removesuffix(f":{group}:retry")
    published_at = delivery.published_at
    facts = {
        "reason": reason.value,
        "errorType": kind_of(error),
        "error": text_of(error, _LONGEST_ERROR),
        "traceback": traceback_of(error),
        "attempts": str(delivery.attempt),
        "firstSeen": timestamp(published_at) if published_at else "",
        "failedAt": timestamp(datetime.now(UTC)),
        "stream": source,
        "entryId": delivery.origin_id,
        "group": group,
        "consumer": consumer,
        "type": _type_of(delivery),
        "eventId": metadata.event_id if metadata else "",
        "correlationId": (metadata.correlation_id or "") if metadata else "",
        "traceparent": (metadata.traceparent or "") if metadata else "",
    }
    if delivery.span is not None:
        facts[failed_attempt.decode()] = traceparent_of(delivery.span)
    safe = tuple((name, value.encode("utf-8", "replace")) for name, value in facts.items())
    return Append(dead_letter_stream(source), (*_raw(delivery), *safe), max_length)


def bare_letter(delivery: Delivery, error: BaseException, group: str, max_length: int) -> Append:
    """The same of a delivery of which nothing more can be said."""
    source = delivery.stream.removesuffix(f":{group}:retry")
    facts = {
        "reason": Reason.ATTEMPTS_EXHAUSTED.value,
        "errorType": kind_of(error),
        "error": text_of(error, _LONGEST_ERROR),
        "attempts": str(delivery.attempt),
        "stream": source,
        "entryId": delivery.origin_id,
        "group": group,
    }
    safe = tuple((name, value.encode("utf-8", "replace")) for name, value in facts.items())
    return Append(dead_letter_stream(source), (*_raw(delivery), *safe), max_length)


def _type_of(delivery: Delivery) -> str:
    """As far as it can be read, even where nothing else can."""
    try:
        said = parse_to_show(delivery.fields.get(b"event", b"")[:LARGEST_KEPT]) if delivery.type == unknown else None
    except ValueError:
        said = None
    read = said.get("type") if isinstance(said, dict) else None
    return read[:_longest_type] if read and isinstance(read, str) else delivery.type


def _raw(delivery: Delivery) -> tuple[tuple[str, bytes], ...]:
    """The event as it stood in the entry, byte for byte; of an entry without one, its fields as JSON.

    Of an event that is much larger than anybody reads, and of such fields, only the beginning, and how many bytes.
    """
    event = delivery.fields.get(b"event")
    if event is not None and len(event) <= LARGEST_KEPT:
        return (("event", event),)
    shown = (("fields", json.dumps(_beginning(delivery.fields), ensure_ascii=False).encode()),)
    size = sum(len(name) + len(value) for name, value in delivery.fields.items())
    return shown if size <= _LONGEST_FIELDS else (*shown, ("bytes", b"%d" % size))


def _beginning(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    left = _LONGEST_FIELDS
    for name, value in fields.items():
        found[name[:left].decode("utf-8", "replace")] = value[:left].decode("utf-8", "replace")
        left -= len(name) + len(value)
        if left <= 0:
            break
    return found


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as it is read back; `event` is the raw event."""

    id: str
    stream: str
    event: bytes | None
    facts: dict[str, str]

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
        facts = {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, value in fields.items()
            if name != b"event"
        }
        return Letter(entry_id.decode(), self.stream, fields.get(b"event"), facts)
