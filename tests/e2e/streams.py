"""The streams as they stand in Redis, read by plain commands past the library, so that it can be judged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

ORDERS_STREAM, INVENTORY_STREAM = "orders_stream", "inventory_stream"
DEAD_LETTER_STREAMS = ("orders_dlq", "inventory_dlq")
# The group that each service is, and the stream that it reads; first who feeds the others, see `groups`.
GROUP_OF = {
    "inventory": (ORDERS_STREAM, "inventory-group"),
    "order": (INVENTORY_STREAM, "order-group"),
    "notification": (INVENTORY_STREAM, "notification-group"),
}
_PAGE = 500


class RedisProblem(Exception):
    """Redis is out of reach, or answered with an error."""


class Redis(Protocol):
    """Runs commands."""

    async def redis(self, *command: str | int) -> Any:
        """The reply in RESP2's terms: text, numbers, `None` and lists of these. Raises `RedisProblem`."""


class Group(NamedTuple):
    """A consumer group on one stream: how much it has not been given yet (`lag`), holds, and has put aside."""

    stream: str
    name: str
    lag: int
    pending: int
    aside: int = 0

    @property
    def idle(self) -> bool:
        """Whether it has finished with all there is."""
        return self.lag == self.pending == self.aside == 0


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in its stream; `None` stands for what could not be read."""

    stream: str
    entry_id: str
    type: str | None
    order_id: str | None
    metadata: Mapping[str, Any]

    @property
    def trace_ids(self) -> set[str]:
        """The trace ids that it carries: one, if all is well."""
        _, _, rest = str(self.metadata.get("traceparent")).partition("-")
        return {str(self.metadata.get("correlationId")), rest.partition("-")[0]}


class Streams:
    """Looks at streams, from what they held when it was made: what is older is somebody else's."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis.redis
        self._starts: dict[str, str] = {}

    async def remember_starts(self) -> None:
        """From now on see only what comes."""
        for stream in (ORDERS_STREAM, INVENTORY_STREAM, *DEAD_LETTER_STREAMS):
            newest = await self._redis("XREVRANGE", stream, "+", "-", "COUNT", 1)
            self._starts[stream] = f"({newest[0][0]}" if newest else "-"

    async def groups(self) -> list[Group]:
        """How far all groups are, on their streams and on their retry streams.

        Who feeds the others is asked first: when all are idle then, nothing is on its way from one to another.
        """
        found: list[Group] = []
        for stream, name in GROUP_OF.values():
            aside = await self._aside(stream, name)
            for key in (stream, f"{stream}:{name}:retry"):
                for row in await self._rows("XINFO", "GROUPS", key):
                    if row["name"] == name:
                        lag = row.get("lag")
                        lag = await self._count(key, row["last-delivered-id"]) if lag is None else lag
                        # Again after the retry stream, from which it may have gone aside once more.
                        aside = max(aside, await self._aside(stream, name)) if key != stream else aside
                        found.append(Group(key, name, lag, row["pending"], aside))
        return found

    async def _aside(self, stream: str, group: str) -> int:
        return int(await self._redis("ZCARD", f"{stream}:{group}:aside"))

    async def consumers(self, service: str) -> dict[str, int]:
        """The consumers of a service's group, and how much each has pending, its retry stream included."""
        stream, group = GROUP_OF[service]
        held: dict[str, int] = {}
        for key in (stream, f"{stream}:{group}:retry"):
            for row in await self._rows("XINFO", "CONSUMERS", key, group):
                held[row["name"]] = held.get(row["name"], 0) + row["pending"]
        return held

    async def held(self, service: str, consumer: str = "") -> set[tuple[str, str]]:
        """What is pending on a consumer, or on the whole group of a service, as (stream, entry id)."""
        stream, group = GROUP_OF[service]
        found: set[tuple[str, str]] = set()
        for key in (stream, f"{stream}:{group}:retry"):
            of_whom = [consumer] if consumer else []
            found |= {(key, row[0]) for row in await self._redis("XPENDING", key, group, "-", "+", 10_000, *of_whom)}
        return found

    async def events(self, stream: str) -> list[Recorded]:
        """All events, in the order of the stream."""
        return [_recorded(stream, entry_id, fields) for entry_id, fields in await self._entries(stream)]

    async def dead_letters(self) -> list[dict[str, str]]:
        """All dead letters, with their fields."""
        return [fields for stream in DEAD_LETTER_STREAMS for _, fields in await self._entries(stream)]

    async def dump(self, stream: str) -> list[object]:
        """All entries of a stream, as they are."""
        return [[entry_id, fields] for entry_id, fields in await self._entries(stream)]

    async def poison(self) -> str:
        """Put an entry into `orders_stream` that nobody can decode; its id."""
        return str(await self._redis("XADD", ORDERS_STREAM, "*", "event", "{this is no JSON"))

    async def _entries(self, stream: str) -> list[tuple[str, dict[str, str]]]:
        found: list[tuple[str, dict[str, str]]] = []
        start = self._starts.get(stream, "-")
        while rows := await self._redis("XRANGE", stream, start, "+", "COUNT", _PAGE):
            found += [(entry_id, pairs(flat)) for entry_id, flat in rows]
            start = f"({rows[-1][0]}"
        return found

    async def _count(self, stream: str, after: str) -> int:
        """Redis has lost count (redis#13337): then we count."""
        return len(await self._redis("XRANGE", stream, f"({after}", "+"))

    async def _rows(self, *command: str) -> list[dict[str, Any]]:
        try:
            return [pairs(row) for row in await self._redis(*command)]
        except RedisProblem as error:
            if "no such key" in str(error) or "NOGROUP" in str(error):
                return []
            raise


def pairs(flat: Sequence[Any]) -> dict[str, Any]:
    """`[k, v, k, v]`, as RESP2 writes a map, as a dictionary."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _recorded(stream: str, entry_id: str, fields: Mapping[str, str]) -> Recorded:
    try:
        event = json.loads(fields["event"])
        return Recorded(stream, entry_id, event["type"], event["data"].get("orderId"), event["metadata"])
    except (KeyError, ValueError, TypeError):
        return Recorded(stream, entry_id, None, None, {})
