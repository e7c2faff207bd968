"""Replies of redis-py about streams, whatever the protocol, as plain typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from eventcore.server.keys import LAST_ID

from .ids import text

RawFields = Mapping[bytes, bytes]
Row = tuple[str, RawFields]


async def entries(redis: Redis, key: str, start: str, end: str, count: int) -> list[Row]:
    """Entries by id, oldest first."""
    if start == f"({LAST_ID}":
        return []
    return rows_of(await redis.xrange(key, start, end, count=count))


async def newest_entries(redis: Redis, key: str, end: str, count: int) -> list[Row]:
    """Entries by id, newest first."""
    return rows_of(await redis.xrevrange(key, end, "-", count=count))


def rows_of(reply: Any) -> list[Row]:
    """Entries as they stand in any reply."""
    return [(text(entry_id), fields or {}) for entry_id, fields in reply or ()]


async def groups(redis: Redis, key: str) -> dict[str, Mapping[str, Any]]:
    """What `XINFO GROUPS` says, by name."""
    reply: Any = await redis.xinfo_groups(key)
    return {text(row["name"]): row for row in reply}


async def scores(redis: Redis, key: str) -> dict[str, int]:
    """The members of a sorted set with their scores."""
    reply: Any = await redis.zrange(key, 0, -1, withscores=True)
    return {text(member): int(min(max(score, 0), 2**53)) for member, score in reply}
