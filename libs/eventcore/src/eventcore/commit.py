"""Committing transactions: each compiled to one call of one script, neighbours sent together in one pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from .envelope import Origin, encode
from .errors import Conflict, StreamFull
from .pipe import Command, Pipe, Reply
from .script import Call, Script, run_all
from .transaction import (
    AddMember,
    AddToField,
    Append,
    Delete,
    Expire,
    Field,
    Found,
    Guard,
    Publish,
    RemoveMember,
    SetField,
    SetText,
    Transaction,
    Write,
)


@dataclass(frozen=True, slots=True)
class Fence:
    """The delivery that a transaction settles: acknowledged by whoever commits first, and only by them."""

    stream: str
    group: str
    entry_id: str


@dataclass(frozen=True, slots=True)
class Committed:
    """Everything was written; `entry_ids` of what was appended to streams, in order."""

    entry_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Somebody else had already committed this delivery; nothing was written."""


@dataclass(frozen=True, slots=True)
class GuardsFailed:
    """A guard did not hold; nothing was written or acknowledged."""

    found: Found


Answer = Committed | Duplicate | GuardsFailed | Exception


@dataclass(frozen=True, slots=True)
class Work:
    """One transaction to commit, with where it comes from and, for a delivery, what it settles."""

    transaction: Transaction
    origin: Origin
    fence: Fence | None = None


@cache
def commit_script(*, allow_oom: bool) -> Script:
    """Consumers must be able to drain a full server; producers must be told to wait."""
    return Script.named("commit", allow_oom=allow_oom)


class Committer:
    """Commits transactions over a pipe. Many callers at once share one write to the server."""

    def __init__(self, pipe: Pipe, *, prefix: str = "", stream_cap: int | None = None) -> None:
        self.pipe = pipe
        self._prefix = prefix
        self._cap = "" if stream_cap is None else str(stream_cap)

    async def commit_all(self, work: Sequence[Work]) -> list[Answer]:
        """Commit each piece of work on its own, in order; the answers, with an exception where one failed.

        Raises `Unavailable` when the server could not be reached, `OutcomeUnknown` when the connection died with the
        commands on their way. Fenced work may then be sent again without harm.
        """
        replies = await self._run(work)
        return [_answer(reply, each.transaction) for reply, each in zip(replies, work, strict=True)]

    async def _run(self, work: Sequence[Work]) -> list[Reply]:
        """Script calls for what has something to say; one XACK with many ids for what is only acknowledged."""
        bare: dict[tuple[str, str], dict[int, str]] = {}
        calls: dict[int, Call] = {}
        for i, each in enumerate(work):
            if each.transaction.is_empty:
                if each.fence is not None:
                    bare.setdefault((each.fence.stream, each.fence.group), {})[i] = each.fence.entry_id
            else:
                calls[i] = self._call(each)
        replies: list[Reply] = [[b"ok"]] * len(work)
        acknowledgements: list[Command] = [
            ("XACK", self._prefix + stream, group, *entry_ids.values()) for (stream, group), entry_ids in bare.items()
        ]
        answers = await run_all(self.pipe, list(calls.values()), beside=acknowledgements)
        for i, answer in zip(calls, answers, strict=False):
            replies[i] = answer
        for numbers, answer in zip(bare.values(), answers[len(calls) :], strict=True):
            if isinstance(answer, Exception):
                for i in numbers:
                    replies[i] = answer
        return replies

    def _call(self, work: Work) -> Call:
        keys, arguments = compile_transaction(work, self._prefix, self._cap)
        return Call(commit_script(allow_oom=work.fence is not None), keys, arguments)


def _answer(reply: Reply, transaction: Transaction) -> Answer:
    if isinstance(reply, Exception):
        return reply
    match reply[0]:
        case b"ok":
            return Committed(tuple(entry.decode() for entry in reply[1:]))
        case b"duplicate":
            return Duplicate()
        case b"guards":
            values = [None if value is None else value.decode("utf-8", "replace") for value in reply[1:]]
            return GuardsFailed(Found(zip(_in_script_order(transaction.when), values, strict=True)))
        case b"full":
            return StreamFull(f"{reply[1].decode()} is at its hard cap")
        case _:
            key, name, value = (part.decode("utf-8", "replace") for part in reply[1:4])
            return Conflict(f"{key}[{name}] holds {value!r}: no integer, or one that would leave the range of 2**53")


@dataclass(slots=True)
class _HashPlan:
    """All that a transaction does with one hash, so that it is read once and written once."""

    guards: list[tuple[str, Guard]] = field(default_factory=list)
    additions: dict[str, int] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str | int]:
        reads: list[str | int] = []
        additions = dict(self.additions)
        for name, guard in self.guards:
            reads += (name, guard.operator, guard.operand, additions.pop(name, ""))
        for name, amount in additions.items():
            reads += (name, "", "", amount)
        writes = [part for pair in self.values.items() for part in pair]
        return [len(reads) // 4, *reads, len(writes) // 2, *writes]


class _Keys:
    """The script's KEYS, numbered from 1 in the order in which they are first named."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.numbers: dict[str, int] = {}

    def number(self, key: str) -> int:
        return self.numbers.setdefault(self._prefix + key, len(self.numbers) + 1)


def compile_transaction(work: Work, prefix: str = "", cap: str = "") -> tuple[list[str], list[str | bytes | int]]:
    """KEYS and ARGV for `lua/commit.lua`, which documents their layout by reading them."""
    transaction, fence = work.transaction, work.fence
    keys, arguments = _Keys(prefix), list[str | bytes | int]()
    if fence is None:
        arguments += ("", "")
    else:
        keys.number(fence.stream)
        arguments += (fence.group, fence.entry_id)
    hashes, texts, others = _sort(transaction)
    arguments.append(len(hashes))
    for key, plan in hashes.items():
        arguments.append(keys.number(key))
        arguments += plan.arguments()
    arguments.append(len(texts))
    for guard in texts:
        arguments += (keys.number(guard.place.key), guard.operator, guard.operand)
    sets = dict.fromkeys(write.key for write in others if isinstance(write, AddMember | RemoveMember))
    arguments += (len(sets), *map(keys.number, sets))
    caps = _streams(others, cap)
    arguments.append(len(caps))
    for stream, limit in caps.items():
        arguments += (keys.number(stream), limit)
    arguments.append(len(others))
    for write in others:
        arguments += _write_arguments(write, keys, work.origin)
    return list(keys.numbers), arguments


def _sort(transaction: Transaction) -> tuple[dict[str, _HashPlan], list[Guard], list[Write]]:
    """Group by key what concerns hashes; the rest stays as it is."""
    hashes: dict[str, _HashPlan] = {}
    texts: list[Guard] = []
    others: list[Write] = []
    for guard in transaction.when:
        if isinstance(guard.place, Field):
            hashes.setdefault(guard.place.key, _HashPlan()).guards.append((guard.place.name, guard))
        else:
            texts.append(guard)
    for write in transaction.then:
        match write:
            case AddToField(place, amount):
                additions = hashes.setdefault(place.key, _HashPlan()).additions
                additions[place.name] = additions.get(place.name, 0) + amount
            case SetField(place, value):
                hashes.setdefault(place.key, _HashPlan()).values[place.name] = value
            case _:
                others.append(write)
    return hashes, texts, others


def _in_script_order(guards: Sequence[Guard]) -> list[Guard]:
    """The guards in the order in which the script reports what it found: hashes by key, then strings."""
    hashes: dict[str, list[Guard]] = {}
    texts: list[Guard] = []
    for guard in guards:
        if isinstance(guard.place, Field):
            hashes.setdefault(guard.place.key, []).append(guard)
        else:
            texts.append(guard)
    return [*(guard for group in hashes.values() for guard in group), *texts]


def _streams(writes: Sequence[Write], cap: str) -> dict[str, str]:
    """The streams written to, with the hard cap of those that events are published to."""
    streams: dict[str, str] = {}
    for write in writes:
        match write:
            case Publish(event):
                streams[event.stream] = cap
            case Append(stream):
                streams.setdefault(stream, "")
    return streams


def _write_arguments(write: Write, keys: _Keys, origin: Origin) -> tuple[str | bytes | int, ...]:
    match write:
        case Publish(event, event_id):
            return ("xadd", keys.number(event.stream), "", 2, "event", encode(event, origin, event_id))
        case Append(stream, fields, max_length):
            flat = [part for pair in fields for part in pair]
            return ("xadd", keys.number(stream), "" if max_length is None else max_length, len(flat), *flat)
        case AddMember(key, member, score):
            return ("zadd", keys.number(key), repr(score), member)
        case RemoveMember(key, member):
            return ("zrem", keys.number(key), member)
        case SetText(text, value, None):
            return ("set", keys.number(text.key), value)
        case SetText(text, value, ttl) if ttl is not None:
            return ("setpx", keys.number(text.key), value, int(ttl.total_seconds() * 1000))
        case Expire(key, ttl):
            return ("pexpire", keys.number(key), int(ttl.total_seconds() * 1000))
        case Delete(key):
            return ("del", keys.number(key))
        case _:
            raise TypeError(f"{write!r} is not a write")
