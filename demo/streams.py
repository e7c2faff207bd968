"""The streams as they stand in Redis: groups, events, dead letters; read past the library, so that it can be judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.asyncio import Redis

ORDERS_STREAM, INVENTORY_STREAM = "orders_stream", "inventory_stream"
CONSUMED_BY = {ORDERS_STREAM: ("inventory-group",), INVENTORY_STREAM: ("order-group", "notification-group")}
DEAD_LETTER_STREAMS = ("orders_dlq", "inventory_dlq")
_BATCH = 1000


class Group(NamedTuple):
    """A consumer group; `lag` counts entries that it has not been given yet, `None` where Redis can't tell.

    `aside` counts what was put aside, also what is back from there and not finished.
    """

    stream: str
    name: str
    lag: int | None
    pending: int
    consumers: int
    aside: int = 0

    @property
    def idle(self) -> bool:
        """Whether it has finished with all there is."""
        return self.lag == self.pending == self.aside == 0


@dataclass(frozen=True)
class Snapshot:
    """Lengths and groups of the streams, in this order: a stream is looked at after the one that feeds it."""

    lengths: Mapping[str, int]
    groups: tuple[Group, ...]
    missing: tuple[str, ...]
    """Groups that are not there."""

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way: what comes of an entry is committed before the entry is acknowledged."""
        return not self.missing and all(group.idle for group in self.groups)

    @property
    def busy(self) -> str:
        """What is still on its way, in words."""
        aside = {group: f", {group.aside} put aside" if group.aside else "" for group in self.groups}
        waiting = [f"{g.name} has lag {g.lag} and {g.pending} pending{aside[g]}" for g in self.groups if not g.idle]
        return "; ".join([*waiting, *(f"{name} is not there" for name in self.missing)])

    def done(self, stream: str, name: str) -> int:
        """How many entries of the stream the group has finished with."""
        group = next((group for group in self.groups if (group.stream, group.name) == (stream, name)), None)
        return 0 if group is None else max(0, self.lengths[stream] - (group.lag or 0) - group.pending)


def _unfinished(retries: Any) -> int:
    """How much of a retry stream is not finished; nothing where there is no such stream yet."""
    rows = [] if isinstance(retries, Exception) else retries
    return sum((row["lag"] or 0) + row["pending"] for row in rows)


class Recorded(NamedTuple):
    """An event in its stream; `at` is when Redis committed it, in seconds since 1970, to the millisecond."""

    stream: str
    entry_id: str
    type: str
    data: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def at(self) -> float:
        return int(self.entry_id.partition("-")[0]) / 1000

    @property
    def order_id(self) -> str:
        return str(self.data.get("orderId", ""))


class Streams:
    """Reads the streams of the embedded server."""

    def __init__(self, url: str) -> None:
        # Typed in parts only. Without a timeout, as everybody who waits for us watches the server as well.
        self._redis: Any = Redis.from_url(url, decode_responses=True, protocol=2, socket_timeout=None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def server(self) -> tuple[str, str]:
        """What the server says of itself: its name and version; its settings that matter here."""
        facts = await self._redis.info("server")
        name, version = (
            ("Valkey", facts["valkey_version"]) if "valkey_version" in facts else ("Redis", facts["redis_version"])
        )
        settings = await self._redis.config_get("appendonly", "maxmemory-policy")
        return f"{name} {version}", f"appendonly {settings['appendonly']}, {settings['maxmemory-policy']}"

    async def snapshot(self) -> Snapshot:
        """How far everything is."""
        places = [(stream, name) for stream, names in CONSUMED_BY.items() for name in names]
        async with self._redis.pipeline(transaction=True) as pipe:  # what is aside comes back: at one moment
            for stream in CONSUMED_BY:
                pipe.xinfo_groups(stream)
                pipe.xlen(stream)
            for stream, name in places:
                pipe.zcard(f"{stream}:{name}:aside")
                pipe.xinfo_groups(f"{stream}:{name}:retry")
            replies = await pipe.execute(raise_on_error=False)
        main, beside = replies[: 2 * len(CONSUMED_BY)], replies[2 * len(CONSUMED_BY) :]
        both = zip(beside[::2], beside[1::2], strict=True)
        aside = {place: count + _unfinished(back) for place, (count, back) in zip(places, both, strict=True)}
        lengths: dict[str, int] = {}
        groups: list[Group] = []
        for stream, rows, length in zip(CONSUMED_BY, main[::2], main[1::2], strict=True):
            lengths[stream] = length
            if not isinstance(rows, Exception):  # no such stream yet
                groups += [
                    Group(
                        stream,
                        row["name"],
                        row["lag"],
                        row["pending"],
                        row["consumers"],
                        aside.get((stream, row["name"]), 0),
                    )
                    for row in rows
                ]
        there = {(group.stream, group.name) for group in groups}
        missing = [name for stream, names in CONSUMED_BY.items() for name in names if (stream, name) not in there]
        return Snapshot(lengths, tuple(groups), tuple(missing))

    async def events(self, stream: str) -> list[Recorded]:
        """All events of a stream, in its order."""
        found: list[Recorded] = []
        start = "-"
        while entries := await self._redis.xrange(stream, start, "+", count=_BATCH):
            for entry_id, fields in entries:
                event = json.loads(fields["event"])
                found.append(Recorded(stream, entry_id, event["type"], event["data"], event["metadata"]))
            start = f"({entries[-1][0]}"
        return found

    async def dead_letters(self) -> dict[str, list[str]]:
        """The dead letters of each stream, each in one line."""
        return {
            stream: [
                f"{stream}: {letter.get('group')} gave up {letter.get('type')} ({letter.get('reason')}): "
                f"{letter.get('error')}"
                for _, letter in await self._redis.xrange(stream, count=_BATCH)
            ]
            for stream in DEAD_LETTER_STREAMS
        }
