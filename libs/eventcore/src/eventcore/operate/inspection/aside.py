"""What groups have put aside: how many deliveries, until when, and what the next of them is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

from msgspec import DecodeError, Raw, msgpack
from redis.asyncio import Redis

from eventcore.consume.delivery import ATTEMPTS, ENTRY_ID, LANE, LAST_ERROR
from eventcore.server.keys import aside_entries_key, aside_key

from .ids import age_of, text
from .replies import Row
from .state import AsideEntry, AsideState

# The oldest is looked for among so many, those that are due first.
_LOOKED_THROUGH = 1000
# Of scores, which may be infinite.
_LATEST = 2.0**53


async def aside_state(redis: Redis, prefix: str, stream: str, group: str, now: int) -> AsideState:
    """Everything that a group has put aside of a stream; `now` is in milliseconds of the server's clock."""
    key = prefix + aside_key(stream, group)
    count = int(await redis.zcard(key))
    rows: Any = await redis.zrange(key, 0, _LOOKED_THROUGH - 1, withscores=True) if count else []
    if not rows:
        return AsideState()
    ages = [age for name, _ in rows if (age := _age(text(name), now)) is not None]
    name, due = rows[0]
    return AsideState(count, max(ages, default=None), await entry_aside(redis, prefix, stream, group, text(name), due))


async def entry_aside(redis: Redis, prefix: str, stream: str, group: str, name: str, due: float) -> AsideEntry | None:
    """One delivery that is aside until then; `None` if it has just come back."""
    packed: Any = await redis.hget(prefix + aside_entries_key(stream, group), name)
    if packed is None:
        return None
    return _entry(name, due, fields_of(packed))


async def entries_aside(redis: Redis, prefix: str, stream: str, group: str) -> AsyncIterator[Row]:
    """All entries that are aside: the id at which each first stood, and its fields."""
    async for name, packed in redis.hscan_iter(prefix + aside_entries_key(stream, group), count=100):
        fields = fields_of(packed)
        yield text(fields.get(ENTRY_ID, name)), fields


def _entry(name: str, due: float, fields: Mapping[bytes, bytes]) -> AsideEntry:
    return AsideEntry(
        entry_id=text(fields.get(ENTRY_ID, name.encode())),
        due_at=int(max(-_LATEST, min(due, _LATEST))),
        attempts=int(fields.get(ATTEMPTS, b"0")),
        lane=text(fields[LANE]) if LANE in fields else None,
        error=text(fields.get(LAST_ERROR, b"")) or None,
    )


def fields_of(packed: bytes) -> Mapping[bytes, bytes]:
    """The entry as the script has packed it; empty for what is none."""
    try:
        words = [_word(bytes(item)) for item in msgpack.decode(packed, type=list[Raw])]
    except DecodeError:
        return {}
    return dict(zip(words[::2], words[1::2], strict=False))


def _word(item: bytes) -> bytes:
    """A text of MessagePack, which need not be UTF-8 here."""
    return item[{0xD9: 2, 0xDA: 3, 0xDB: 5}.get(item[0], 1) :]


def _age(name: str, now: int) -> timedelta | None:
    try:
        return age_of(name.removeprefix("retry:").rstrip("'"), now)
    except ValueError:
        return None
