"""What a consumer asks of Redis Streams: reading, pending entries, claims, heartbeats. Replies are normalised here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from msgspec import Struct

from eventcore.errors import Forbidden, Unavailable
from eventcore.server.clock import Clock
from eventcore.server.keys import (
    LAST_ID,
    aside_entries_key,
    aside_key,
    beats_key,
    dead_letter_stream,
    members_key,
    retry_stream,
)
from eventcore.server.pipe import Argument, Command, Pipe, Reply, ServerError, argument_shown
from eventcore.server.rights import needs_of_aside, needs_of_member, require_rights
from eventcore.server.script import Call, Script, run_all, run_script

from .delivery import Delivery, DeliveryKey

# Not to wait at all (0 would be for ever).
SHORTEST_BLOCK = timedelta(milliseconds=1)
# How long a consumer that never sent a heartbeat (another library's) must be idle to be taken for dead.
FOREIGN_IDLE = timedelta(minutes=5)


@cache
def _script(name: str) -> Script:
    # What is put aside takes memory, for a while: where there is none left, it stays where it is.
    return Script.named(name, allow_oom=name != "put_aside")


class Entry(Struct, frozen=True, gc=False):
    """An entry handed to us: the `attempt`-th time that this group tries it. `fields` is `None` if it was trimmed."""

    stream: str
    entry_id: str
    attempt: int
    fields: Mapping[bytes, bytes] | None


class Pending(Struct, frozen=True, gc=False):
    """An entry that we hold without having its content; `attempt` tries have begun so far."""

    stream: str
    entry_id: str
    attempt: int


class Leaving(Struct, frozen=True, gc=False):
    """A delivery on its way aside, and what it is called there, of the main stream `stream`.

    It comes back after what is called `after` ('': nothing). `wait` is in how many milliseconds it is due, `tried` for
    how many it has been tried; `words` are the names and values of the entry as which it is to come back.
    """

    stream: str
    delivery: Delivery
    name: str
    after: str
    wait: int
    tried: int
    words: Sequence[bytes]


class NoGroup(Exception):
    """The stream or the group isn't there (any more)."""


class NameTaken(Exception):
    """Another process has this consumer's name now, and what is pending on it."""


class Peer(Struct, frozen=True):
    """Another living consumer of the group on one stream, and the event types of that stream that it handles."""

    stream: str
    name: str
    handles: frozenset[str]


def handled_types(about: str) -> frozenset[str]:
    """The event types in the value beside a heartbeat, behind the instance's id."""
    return frozenset(about.split()[1:])


class GroupMember:
    """One consumer in one group, over all the streams that the group reads.

    `handles` has the event types, by stream, that this program has handlers for.
    """

    def __init__(
        self,
        commands: Pipe,
        reader: Pipe,
        *,
        group: str,
        consumer: str,
        streams: Iterable[str],
        handles: Mapping[str, Iterable[str]],
        prefix: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.group, self.consumer = group, consumer
        self.main_streams = tuple(streams)
        self.streams = (*self.main_streams, *(retry_stream(stream, group) for stream in self.main_streams))
        self._main = {name: stream for stream in self.main_streams for name in (stream, retry_stream(stream, group))}
        self._commands, self._reader, self._prefix = commands, reader, prefix
        self.clock = clock or Clock()
        self.instance = secrets.token_hex(8)
        texts = [" ".join([self.instance, *sorted(handles[stream])]) for stream in self.main_streams]
        self._texts = (*texts, *texts)
        self._names = {(prefix + stream).encode(): stream for stream in self.streams}

    async def known(self) -> set[str]:
        """The streams that have heartbeats of the group: it was there, whether or not it still is."""
        replies = await self._commands.pipeline([("ZRANGE", self._beats(stream), 0, 0) for stream in self.streams])
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, Forbidden):  # told later, with all that we lack
                raise reply
        return {
            stream for stream, reply in zip(self.streams, replies, strict=True) if isinstance(reply, list) and reply
        }

    async def create(self, starts: Mapping[str, str] = {}) -> list[str]:
        """Create what is missing of streams and groups; the streams where a group was.

        Each begins behind the id that `starts` names, or else with the very first entry.
        """
        replies = await self._commands.pipeline(
            [
                ("XGROUP", "CREATE", self._prefix + stream, self.group, starts.get(stream, "0"), "MKSTREAM")
                for stream in self.streams
            ]
        )
        for reply in replies:
            if isinstance(reply, Exception) and not (isinstance(reply, ServerError) and reply.code == "BUSYGROUP"):
                # A server whose memory is full refuses to create before it looks. Who drains it must join all the same.
                if isinstance(reply, Unavailable) and await self.exists():
                    return []
                raise reply
        return [stream for stream, reply in zip(self.streams, replies, strict=True) if not isinstance(reply, Exception)]

    async def require_rights(self) -> None:
        """Raise `Forbidden` with all that a member of the group will have to do and our user may not."""
        letters = {self._prefix + dead_letter_stream(stream) for stream in self.main_streams}
        names = [self._prefix + stream for stream in self.streams]
        aside = needs_of_aside(names[len(self.main_streams) :], map(self._aside, self.main_streams))
        needs = needs_of_member(names, map(self._beats, self.streams), sorted(letters))
        await require_rights(self._commands, needs, later=aside)

    async def exists(self) -> bool:
        """Whether the group is there on all its streams."""
        replies = await self._commands.pipeline([("XINFO", "GROUPS", self._prefix + stream) for stream in self.streams])
        for stream, reply in zip(self.streams, replies, strict=True):
            if isinstance(reply, Forbidden):
                raise Forbidden.to_run("XINFO GROUPS", self._prefix + stream)
        return all(
            not isinstance(reply, Exception) and any(pairs(row)[b"name"] == self.group.encode() for row in reply)
            for reply in replies
        )

    async def read(self, count: int, block: timedelta) -> list[Entry]:
        """New entries, at most `count` a stream; empty after `block` without any. Raises `NoGroup`, `Unavailable`."""
        milliseconds = int(block.total_seconds() * 1000)
        names = [self._prefix + stream for stream in self.streams]
        try:
            reply = await self._reader.execute(
                "XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", count, "BLOCK", milliseconds,
                "STREAMS", *names, *([">"] * len(names)),
            )  # fmt: skip
        except ServerError as error:
            if error.code in ("NOGROUP", "UNBLOCKED"):
                raise NoGroup(str(error)) from error
            raise
        except Forbidden as error:
            raise Forbidden.to_run("XREADGROUP", ", ".join(names)) from error
        return [
            Entry(stream, entry_id.decode(), 1, pairs(fields) if fields else None)
            for name, entries in reply or ()
            for stream in (self._names[name],)
            for entry_id, fields in entries
        ]

    async def unblock(self) -> None:
        """End a blocking read now, as if its time were over."""
        if self._reader.greeting and not isinstance(self._reader.greeting[0], Exception):
            await self._commands.execute("CLIENT", "UNBLOCK", self._reader.greeting[0])

    async def pending(
        self, stream: str, *, after: str = "", idle: timedelta = timedelta(0), count: int = 1000
    ) -> list[Pending]:
        """Entries pending on this consumer for at least `idle`, in order, after the given entry id."""
        if after == LAST_ID:
            return []
        start = f"({after}" if after else "-"
        reply = await self._execute(
            "XPENDING", self._prefix + stream, self.group, "IDLE", _milliseconds(idle), start, "+", count, self.consumer
        )
        return [Pending(stream, entry_id.decode(), int(attempt)) for entry_id, _, _, attempt in reply]

    @property
    def connected_at(self) -> float:
        """Since when we talk to the same server, by the monotonic clock."""
        return max(self._commands.connected_at, self._reader.connected_at)

    async def look_for(self, deliveries: Sequence[DeliveryKey]) -> list[tuple[bool, bool]]:
        """For each entry: whether it is in its stream, and whether it is pending on any consumer."""
        commands: list[Command] = []
        for stream, entry_id in deliveries:
            key = self._prefix + stream
            commands += [("XRANGE", key, entry_id, entry_id), ("XPENDING", key, self.group, entry_id, entry_id, 1)]
        replies = await self._commands.pipeline(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise _translated(reply) if isinstance(reply, ServerError) else reply
        return [(bool(there), bool(held)) for there, held in zip(replies[::2], replies[1::2], strict=True)]

    async def claim(self, stream: str, entry_ids: Sequence[str], *, counts: bool) -> list[Entry]:
        """Claim entries that are still ours, which begins another attempt; `counts` says whether it is counted."""
        arguments: list[Argument] = [self.group, self.consumer, int(counts), *entry_ids]
        reply = await self._run(Call(_script("claim"), [self._prefix + stream], arguments))
        return [Entry(stream, row[0].decode(), int(row[1]), pairs(row[2]) if len(row) == 3 else None) for row in reply]

    async def take_name(self, name: str, dead_after: timedelta, *, stale: str = "") -> str | list[Peer]:
        """Take this name: the group's other living consumers, or the last heartbeat of the process that has the name.

        That process lives if its heartbeat is younger than `dead_after` and not `stale`, that is unchanged for as long.
        """
        arguments: list[Argument] = [name, _milliseconds(dead_after), stale, *self._texts]
        reply = await self._run(Call(_script("take_name"), self._places(), arguments))
        if isinstance(reply, bytes):
            return reply.decode()
        self.consumer = name
        return [
            Peer(stream, argument_shown(peer), handled_types(argument_shown(about)))
            for stream, found in zip(self.streams, reply, strict=True)
            for peer, about in pairs(found).items()
        ]

    async def beat(self, dead_after: timedelta) -> list[tuple[str, bytes]]:
        """Send a heartbeat on every stream; the dead, as (stream, consumer). Raises `NameTaken`."""
        asked_at = time.monotonic()
        arguments: list[Argument] = [self.consumer, _milliseconds(dead_after), *self._texts]
        reply = await self._run(Call(_script("beat"), self._places(), arguments))
        if reply is None:
            raise NameTaken(f"another process consumes as {self.consumer}")
        now, *silent = reply
        self.clock.note(now, asked_at)
        own = self.consumer.encode()
        return [
            (stream, each) for stream, names in zip(self.streams, silent, strict=True) for each in names if each != own
        ]

    def main_stream(self, stream: str) -> str:
        """The main stream of a stream, which may be its retry stream."""
        return self._main[stream]

    async def put_aside(self, leaving: Sequence[Leaving], *, limit: int) -> list[bool]:
        """Put deliveries of one main stream aside; of each, in order, whether it was still ours.

        The list ends where `limit` deliveries are aside: what is not in it stays pending.
        """
        main = leaving[0].stream
        sources = [main, retry_stream(main, self.group)]
        keys = [*(self._prefix + stream for stream in sources), *self._aside(main)]
        arguments: list[Argument] = [self.group, self.consumer, limit]
        for each in leaving:
            number = sources.index(each.delivery.stream) + 1
            arguments += [number, each.delivery.entry_id, each.name, each.after, each.wait, each.tried]
            arguments += [len(each.words), *each.words]
        return [ours == 1 for ours in await self._run(Call(_script("put_aside"), keys, arguments))]

    async def bring_back(self, count: int) -> tuple[int, list[DeliveryKey], list[str]]:
        """Let what is due come back, `count` to each retry stream at most: the most for one, what is lost and odd."""
        keys = [[*self._aside(main), self._prefix + retry_stream(main, self.group)] for main in self.main_streams]
        calls = [Call(_script("bring_back"), each, [count]) for each in keys]
        most, lost, unreadable = 0, list[DeliveryKey](), list[str]()
        for stream, reply in zip(self.main_streams, await run_all(self._commands, calls), strict=True):
            if isinstance(reply, Exception):
                raise reply
            due, gone, odd = (*reply, [], [])[:3]
            most, lost = max(most, due), lost + [(stream, argument_shown(name)) for name in gone]
            unreadable += map(argument_shown, odd)
        return most, lost, unreadable

    def _aside(self, stream: str) -> list[str]:
        return [self._prefix + key(stream, self.group) for key in (aside_key, aside_entries_key)]

    async def strangers(self) -> list[tuple[str, bytes]]:
        """Consumers that never sent a heartbeat and have long been idle, as (stream, consumer)."""
        found: list[tuple[str, bytes]] = []  # bytes: other programs may consume under any name
        for stream in self.streams:
            beats = set(await self._execute("ZRANGE", self._beats(stream), 0, -1))
            for row in await self._execute("XINFO", "CONSUMERS", self._prefix + stream, self.group):
                consumer = pairs(row)
                if consumer[b"name"] not in beats and consumer[b"idle"] >= _milliseconds(FOREIGN_IDLE):
                    found.append((stream, consumer[b"name"]))
        return found

    async def take_over(
        self, stream: str, dead: str | bytes, *, dead_after: timedelta, count: int
    ) -> tuple[list[Pending], list[Entry]]:
        """Claim what a dead consumer held, `count` at most, without counting an attempt; nothing if it lives.

        Beside that, the entries that are gone from the stream.
        """
        keys = [self._prefix + stream, self._beats(stream), self._members(stream)]
        arguments: list[Argument] = [
            self.group,
            self.consumer,
            dead,
            _milliseconds(dead_after),
            _milliseconds(FOREIGN_IDLE),
            count,
        ]
        taken, lost = await self._run(Call(_script("take_over"), keys, arguments))
        return (
            [Pending(stream, entry_id.decode(), int(attempt)) for entry_id, attempt in taken],
            [Entry(stream, entry_id.decode(), int(attempt), None) for entry_id, attempt in lost],
        )

    async def leave(self, unspent: Iterable[DeliveryKey] = ()) -> bool:
        """Leave the group on every stream; whether nothing was pending.

        Of `unspent` deliveries that are left, the latest attempt is given back: it counts for nothing.
        """
        given_back: dict[str, list[str]] = {stream: [] for stream in self.streams}
        for stream, entry_id in unspent:
            given_back[stream].append(entry_id)
        calls = [
            Call(
                _script("leave"),
                [self._prefix + stream, self._beats(stream), self._members(stream)],
                [self.group, self.consumer, self.instance, *ids],
            )
            for stream, ids in given_back.items()
        ]
        replies = await run_all(self._commands, calls)
        for reply in replies:
            if isinstance(reply, Exception):
                raise _translated(reply) if isinstance(reply, ServerError) else reply
        return all(reply == 0 for reply in replies)

    def _places(self) -> list[str]:
        """Where our heartbeats are, and what stands beside them."""
        return [key for stream in self.streams for key in (self._beats(stream), self._members(stream))]

    def _beats(self, stream: str) -> str:
        return self._prefix + beats_key(stream, self.group)

    def _members(self, stream: str) -> str:
        return self._prefix + members_key(stream, self.group)

    async def _execute(self, *command: str | int) -> Reply:
        try:
            return await self._commands.execute(*command)
        except ServerError as error:
            raise _translated(error) from error

    async def _run(self, call: Call) -> Reply:
        try:
            return await run_script(self._commands, call)
        except ServerError as error:
            raise _translated(error) from error


def _translated(error: ServerError) -> Exception:
    return NoGroup(str(error)) if "NOGROUP" in str(error) or "no such key" in str(error) else error


def pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    """`[k, v, k, v]`, as RESP2 writes a map, as a dictionary."""
    if len(flat) == 2:  # an entry with its one field: by far the most frequent
        return {flat[0]: flat[1]}
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _milliseconds(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)
