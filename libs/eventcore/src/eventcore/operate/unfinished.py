"""What groups have been given and not finished with: pending on a consumer, or put aside until its time has come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from eventcore.consume.delivery import LANE, LAST_ERROR, Past
from eventcore.server.keys import LAST_ID, aside_key, retry_stream

from .entries import pages
from .inspection import Inspector
from .inspection.aside import entry_aside
from .inspection.ids import age_of, text
from .inspection.replies import RawFields

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One delivery. What is pending is tried again by its consumer, which alone knows when, and what failed lately."""

    group: str
    stream: str
    entry_id: str
    state: str
    attempts: int
    age_seconds: float | None
    next_in_seconds: float | None = None
    consumer: str | None = None
    lane: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {to_camel(name): value for name, value in asdict(self).items()}


async def unfinished(inspector: Inspector, stream: str, group: str) -> AsyncIterator[Unfinished]:
    """All of a group's, those that are pending first, each in the order of its entries; what is aside as it is due."""
    seconds, micros = await inspector.redis.time()
    now = int(seconds) * 1000 + int(micros) // 1000
    for name in (stream, retry_stream(stream, group)):
        if group in await inspector.groups(name):
            async for each in _pending(inspector, name, group, now):
                yield each
    async for each in _aside(inspector, stream, group, now):
        yield each


async def _pending(inspector: Inspector, name: str, group: str, now: int) -> AsyncIterator[Unfinished]:
    start, key = "-", inspector.key(name)
    while start != f"({LAST_ID}":
        rows: Any = await inspector.redis.xpending_range(key, group, start, "+", _PAGE)
        if not rows:
            return
        ids = [text(row["message_id"]) for row in rows]
        past = await _fields(inspector, key, ids) if name.endswith(":retry") else {}
        for entry_id, row in zip(ids, rows, strict=True):
            fields = past.get(entry_id, {})
            before = Past.read(entry_id, fields) or Past(entry_id, 0)
            yield Unfinished(
                group, name, before.entry_id, "pending", before.attempts + int(row["times_delivered"]),
                _age(before.entry_id, now), consumer=text(row["consumer"]),
                lane=_told(fields, LANE), error=_told(fields, LAST_ERROR),
            )  # fmt: skip
        start = f"({ids[-1]}"


async def _fields(inspector: Inspector, key: str, ids: list[str]) -> Mapping[str, RawFields]:
    wanted, found = set(ids), dict[str, RawFields]()
    async for page in pages(inspector.redis, key, ids[0], ids[-1]):
        found |= {entry_id: fields for entry_id, fields in page if entry_id in wanted}
    return found


def _told(fields: RawFields, name: bytes) -> str | None:
    return text(fields.get(name, b"")) or None


async def _aside(inspector: Inspector, stream: str, group: str, now: int) -> AsyncIterator[Unfinished]:
    redis, key, at = inspector.redis, inspector.key(aside_key(stream, group)), 0
    while True:
        rows: Any = await redis.zrange(key, at, at + _PAGE - 1, withscores=True)
        if not rows:
            return
        for name, due in rows:
            found = await entry_aside(redis, inspector.prefix, stream, group, text(name), due)
            if found is not None:
                wait = max(0, found.due_at - now) / 1000
                yield Unfinished(
                    group, stream, found.entry_id, "aside", found.attempts, _age(found.entry_id, now), wait,
                    lane=found.lane, error=found.error,
                )  # fmt: skip
        at += _PAGE


def _age(entry_id: str, now: int) -> float | None:
    try:
        return age_of(entry_id, now).total_seconds()
    except ValueError:
        return None
