"""The inspector: asks Redis for the state of streams, and changes nothing there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from eventcore.consume.group_member import handled_types
from eventcore.server.keys import aside_entries_key, aside_key, beats_key, dead_letter_stream, members_key, retry_stream

from .aside import aside_state
from .consumers import Seen, consumer_states
from .ids import age_of, milliseconds, parse_id, text
from .memory import memory_of
from .names import main_streams, scan_pattern
from .replies import entries, groups, newest_entries, scores
from .server import ServerState, server_state
from .state import DeadLetterState, GroupState, Lag, PendingEntry, Progress, StreamState

# The server's own figure for lag counts what was deleted or trimmed unread (redis#13337, #13957): up to so many entries
# we count for ourselves, so that zero is zero. Beyond, its figure will do.
VERIFIED_LAG = 1_000
# Where the server has no figure (null), we count so far and then say "at least".
COUNTED_LAG = 10_000
# So many of a stream's newest dead letters are told apart by group.
COUNTED_LETTERS = 1_000
_PAGE = 500


class WrongType(ResponseError):
    """A key of a stream holds something else than it should; the message says which and what."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What `XINFO STREAM` says of a stream; by default, of one that isn't there."""

    exists: bool = False
    length: int = 0
    nodes: int = 0
    entries_added: int = 0
    first_id: str | None = None
    last_id: str | None = None
    last_generated_id: str = "0-0"


@dataclass(frozen=True, slots=True)
class _Tally:
    """How many of the newest dead letters there are of each kind."""

    groups: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Inspector:
    """Looks at the streams under a prefix, through a client that answers bytes. Raises redis-py's errors.

    `dead_after` is the silence that makes a consumer dead; it is the consumers' own setting. An inspector remembers the
    dead letters that it has counted, and counts again only when there are others.
    """

    def __init__(self, redis: Redis, *, prefix: str = "", dead_after: timedelta = timedelta(seconds=5)) -> None:
        self.redis, self.prefix, self._dead_after = redis, prefix, dead_after
        self._tallies: dict[str, tuple[_Facts, _Tally]] = {}

    async def server(self) -> ServerState | None:
        """The server itself; `None` where the user's rights don't include that."""
        return await server_state(self.redis)

    async def streams(self) -> list[str]:
        """The names of all streams, by their keys; dead letters and retry streams belong to one of these."""
        found = self.redis.scan_iter(match=scan_pattern(self.prefix), count=1000, _type="stream")
        return main_streams([text(key).removeprefix(self.prefix) async for key in found])

    def key(self, name: str) -> str:
        """The key as it stands in Redis."""
        return self.prefix + name

    async def is_stream(self, name: str) -> bool:
        """Whether there is such a stream. Raises `WrongType` for a key that holds something else."""
        kind = text(await self.redis.type(self.key(name)))
        if kind not in ("stream", "none"):
            raise WrongType(f"{self.key(name)} is a {kind}, not a stream")
        return kind == "stream"

    async def stream(self, name: str) -> StreamState:
        """One stream with its groups and dead letters; one that isn't there (any more) is empty. Raises `WrongType`."""
        try:
            return await self._stream(name)
        except ResponseError as error:
            if "WRONGTYPE" in str(error) and (misplaced := await self._misplaced(name)):
                raise WrongType(misplaced) from error
            raise

    async def _misplaced(self, name: str) -> str | None:
        """What stands where the stream, its dead letters, a retry stream or heartbeats should."""
        wanted = {name: "stream", dead_letter_stream(name): "stream"}
        with suppress(ResponseError):
            for group in await self.groups(name):
                retries = retry_stream(name, group)
                wanted |= {retries: "stream", aside_key(name, group): "zset", aside_entries_key(name, group): "hash"}
                for stream in (name, retries):
                    wanted |= {beats_key(stream, group): "zset", members_key(stream, group): "hash"}
        for key, kind in wanted.items():
            found = text(await self.redis.type(self.key(key)))
            if found not in (kind, "none"):
                return f"{key} is a {found}, not a {kind}"
        return None

    async def _stream(self, name: str) -> StreamState:
        now = await self._now()
        facts = await self._facts(name)
        letters = await self._dead_letters(dead_letter_stream(name), now)
        rows = await self.groups(name)
        found = [await self._group(name, group, row, facts, letters, now) for group, row in rows.items()]
        return StreamState(
            name=name,
            exists=facts.exists,
            at=datetime.fromtimestamp(now / 1000, UTC),
            length=facts.length,
            entries_added=facts.entries_added,
            last_generated_id=facts.last_generated_id,
            oldest_age=age_of(facts.first_id, now) if facts.first_id else None,
            newest_age=age_of(facts.last_id, now) if facts.last_id else None,
            memory=await self._memory(name, facts.nodes, sum(row["pending"] for row in rows.values())),
            groups=tuple(group for group in found if group is not None),
            dead_letters=letters,
        )

    async def _now(self) -> int:
        seconds, microseconds = await self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _facts(self, stream: str) -> _Facts:
        try:
            row = await self.redis.xinfo_stream(self.key(stream))
        except ResponseError as error:
            if _is_gone(error):
                return _Facts()
            raise
        first, last = row["first-entry"], row["last-entry"]
        return _Facts(
            exists=True,
            length=row["length"],
            nodes=row["radix-tree-nodes"],
            entries_added=row["entries-added"],
            first_id=text(first[0]) if first else None,
            last_id=text(last[0]) if last else None,
            last_generated_id=text(row["last-generated-id"]),
        )

    async def groups(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """What `XINFO GROUPS` says of each group, by name; nothing where the stream isn't there (any more)."""
        try:
            return await groups(self.redis, self.key(stream))
        except ResponseError as error:
            if _is_gone(error):
                return {}
            raise

    async def _memory(self, stream: str, nodes: int, pending: int) -> int | None:
        try:
            size: int | None = await self.redis.memory_usage(self.key(stream))
            server: Mapping[str, Any] = await self.redis.info("server")
        except NoPermissionError:
            return None
        return None if size is None else memory_of(size, nodes=nodes, pending=pending, server=server)

    async def _dead_letters(self, stream: str, now: int) -> DeadLetterState:
        facts = await self._facts(stream)
        before, tally = self._tallies.get(stream, (_Facts(), _Tally()))
        if facts != before:
            tally = await self._tally(stream)
            self._tallies[stream] = (facts, tally)
        return DeadLetterState(
            stream=stream,
            length=facts.length,
            oldest_age=age_of(facts.first_id, now) if facts.first_id else None,
            newest_age=age_of(facts.last_id, now) if facts.last_id else None,
            by_group=dict(tally.groups),
            by_reason=dict(tally.reasons.most_common()),
            partial=facts.length > COUNTED_LETTERS,
        )

    async def _tally(self, stream: str) -> _Tally:
        tally = _Tally()
        end = "+"
        while (left := COUNTED_LETTERS - tally.groups.total()) > 0:
            rows = await newest_entries(self.redis, self.key(stream), end, min(left, _PAGE))
            if not rows:
                break
            tally.groups.update(text(fields.get(b"group", b"")) for _, fields in rows)
            tally.reasons.update(text(fields.get(b"reason", b"")) for _, fields in rows)
            end = f"({rows[-1][0]}"
        return tally

    async def _group(
        self,
        stream: str,
        name: str,
        row: Mapping[str, Any],
        facts: _Facts,
        letters: DeadLetterState,
        now: int,
    ) -> GroupState | None:
        """`None` if the group has been destroyed since it was listed."""
        retries = retry_stream(stream, name)
        retry, retry_seen = None, None
        try:
            main, seen = await self._progress(stream, row, facts, now), await self._seen(stream, name)
            if retry_row := (await self.groups(retries)).get(name):
                retry = await self._progress(retries, retry_row, await self._facts(retries), now)
                retry_seen = await self._seen(retries, name)
            aside = await aside_state(self.redis, self.prefix, stream, name, now)
        except ResponseError as error:
            if _is_gone(error):
                return None
            raise
        consumers = consumer_states(seen, retry_seen, now=now, dead_after=self._dead_after)
        return GroupState(name, main, retry, consumers, letters.by_group.get(name, 0), aside)

    async def _progress(self, stream: str, row: Mapping[str, Any], facts: _Facts, now: int) -> Progress:
        delivered = text(row["last-delivered-id"])
        lag = await self._lag(stream, delivered, row["lag"], facts, now)
        oldest = await self.redis.xpending_range(self.key(stream), row["name"], "-", "+", 1)
        return Progress(
            stream, facts.length, delivered, lag, row["pending"], _pending_entry(oldest[0], now) if oldest else None
        )

    async def _lag(self, stream: str, delivered: str, claimed: int | None, facts: _Facts, now: int) -> Lag:
        """`claimed` is the server's figure, `None` where it has none."""
        if facts.first_id is None or facts.last_id is None or parse_id(delivered) >= parse_id(facts.last_id):
            return Lag()
        if parse_id(delivered) < parse_id(facts.first_id):
            return Lag(facts.length, age_of(facts.first_id, now))
        if claimed is not None and claimed > VERIFIED_LAG:
            found, first = await self._count(stream, delivered, 1)
            return Lag(min(claimed, facts.length), age_of(first, now)) if first else Lag()
        found, first = await self._count(stream, delivered, COUNTED_LAG)
        return Lag(found, age_of(first, now), capped=found >= COUNTED_LAG) if first else Lag()

    async def _count(self, stream: str, after: str, limit: int) -> tuple[int, str | None]:
        """How many entries follow, up to the limit, and the first of them."""
        found, first, start = 0, None, f"({after}"
        while found < limit:
            rows = await entries(self.redis, self.key(stream), start, "+", min(_PAGE, limit - found))
            if not rows:
                break
            first = first or rows[0][0]
            found += len(rows)
            start = f"({rows[-1][0]}"
        return found, first

    async def _seen(self, stream: str, group: str) -> Seen:
        rows: Any = await self.redis.xinfo_consumers(self.key(stream), group)
        beats = await scores(self.redis, self.key(beats_key(stream, group)))
        held = {text(row["name"]): (int(row["idle"]), int(row["pending"])) for row in rows}
        members = await self.redis.hgetall(self.key(members_key(stream, group)))
        return Seen(held, beats, {text(name): handled_types(text(about)) for name, about in members.items()})


def _pending_entry(row: Mapping[str, Any], now: int) -> PendingEntry:
    entry_id = text(row["message_id"])
    return PendingEntry(
        entry_id=entry_id,
        consumer=text(row["consumer"]),
        age=age_of(entry_id, now),
        idle=milliseconds(int(row["time_since_delivered"])),
        attempts=int(row["times_delivered"]),
    )


def _is_gone(error: ResponseError) -> bool:
    """Whether a stream or group was not there (any more)."""
    return "no such key" in str(error) or "NOGROUP" in str(error)
