"""Committing transactions: each compiled to one call of one script, neighbours sent together in one pipeline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import chain
from math import isnan
from typing import Any

from . import telemetry
from .envelope import Origin, encode, new_id
from .errors import Conflict, EventcoreError, StreamFull
from .pipe import Argument, Command, Pipe, Reply
from .script import Call, Script, run_all
from .sending import end_spans, measure, traced
from .telemetry.measurements import commit_duration
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


@dataclass(slots=True)
class Fence:
    """The delivery that a transaction settles: acknowledged by whoever commits first, and only by them."""

    stream: str
    group: str
    entry_id: str


@dataclass(slots=True)
class Committed:
    """Everything was written; `entry_ids` of what was appended to streams, in order."""

    entry_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Acknowledgement:
    """Deliveries of one stream and group that have nothing to commit but their acknowledgement."""

    stream: str
    group: str
    entry_ids: list[str]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Somebody else had already committed this delivery; nothing was written."""


@dataclass(frozen=True, slots=True)
class GuardsFailed:
    """A guard did not hold; nothing was written or acknowledged."""

    found: Found


Answer = Committed | Duplicate | GuardsFailed | Exception
_acknowledged = Committed()


@dataclass(slots=True)
class Work:
    """One transaction to commit, with where it comes from and, for a delivery, what it settles.

    `streams` and `spans` are those of the events in it, once it was compiled.
    """

    transaction: Transaction
    origin: Origin
    fence: Fence | None = None
    streams: Sequence[str] = ()
    spans: Sequence[telemetry.RecordedSpan] = ()


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
        self._unfenced, self._fenced = commit_script(allow_oom=False), commit_script(allow_oom=True)

    async def load_script(self) -> None:
        """Let the server know the script before it is called, so that commits sent one after another run in that order.

        Else those sent before the first answer would have to be sent again, after later ones. Raises as `execute` does.
        """
        await self.pipe.execute("SCRIPT", "LOAD", self._fenced.source)

    async def commit_all(self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement] = ()) -> list[Answer]:
        """Commit each piece of work on its own, in order, then acknowledge; the answers, an exception where one failed.

        Raises `Unavailable` when the server could not be reached, `OutcomeUnknown` when the connection died with the
        commands on their way. Fenced work and acknowledgements may then be sent again without harm.
        """
        began = time.perf_counter()
        try:
            replies = await self._run(work, acknowledgements)
        except (TypeError, ValueError) as error:  # an argument that can't be sent: nothing was
            if len(work) == 1 and not acknowledgements:
                return [error]
            answers = [answer for each in work for answer in await self.commit_all([each])]
            return answers + (await self.commit_all([], acknowledgements) if acknowledgements else [])
        except EventcoreError as error:
            _measure(work, acknowledgements, [error] * (len(work) + len(acknowledgements)), time.perf_counter() - began)
            raise
        answers = [_answer(reply, each.transaction) for reply, each in zip(replies, work, strict=False)]
        answers += [reply if isinstance(reply, Exception) else _acknowledged for reply in replies[len(work) :]]
        _measure(work, acknowledgements, answers, time.perf_counter() - began)
        return answers

    async def _run(self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement]) -> list[Reply]:
        """The replies to each piece of work, and to each acknowledgement."""
        calls: dict[int, Call] = {}
        replies: list[Reply] = [None] * len(work)
        for i, each in enumerate(work):
            try:
                calls[i] = self._call(each)
            except Exception as error:  # noqa: BLE001 - what one handler decided must not hurt its neighbours
                replies[i] = error
        xacks: list[Command] = [
            ("XACK", self._prefix + each.stream, each.group, *each.entry_ids) for each in acknowledgements
        ]
        answers = await run_all(self.pipe, list(calls.values()), beside=xacks)
        for i, answer in zip(calls, answers, strict=False):
            replies[i] = answer
        return replies + answers[len(calls) :]

    def _call(self, work: Work) -> Call:
        keys, arguments = compile_transaction(work, self._prefix, self._cap)
        return Call(self._unfenced if work.fence is None else self._fenced, keys, arguments)


_outcomes: dict[type, str] = {Committed: "committed", Duplicate: "duplicate", GuardsFailed: "guards_failed"}


def _measure(
    work: Sequence[Work], acknowledgements: Sequence[Acknowledgement], answers: Sequence[Answer], seconds: float
) -> None:
    """Commits that were sent together took equally long."""
    settling = next((each.fence for each in work if each.fence), None) or next(iter(acknowledgements), None)
    kinds = Counter(map(type, answers[: len(work)]))
    for each, answer in zip(acknowledgements, answers[len(work) :], strict=True):
        kinds[type(answer)] += len(each.entry_ids)
    for kind, count in kinds.items():
        commit_duration.record(
            seconds, settling.group if settling else None, _outcomes.get(kind, "failed"), count=count
        )
    streams: list[str] = []
    said: list[Answer] = []
    for piece, answer in zip(work, answers, strict=False):
        if piece.streams and not isinstance(answer, Duplicate | GuardsFailed):  # else nothing was sent
            streams += piece.streams
            said += [answer] * len(piece.streams)
            end_spans(piece.spans, answer if isinstance(answer, Exception) else None)
    measure(streams, said, seconds)


def _answer(reply: Reply, transaction: Transaction) -> Answer:
    if isinstance(reply, Exception):
        return reply
    match reply[0]:
        case b"ok":
            return Committed(tuple([entry.decode() for entry in reply[1:]]))
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


class _HashPlan:
    """All that a transaction does with one hash, so that it is read once and written once."""

    __slots__ = ("additions", "guards", "values")

    def __init__(self) -> None:
        self.guards: list[tuple[str, Guard]] = []
        self.additions: dict[str, int] = {}
        self.values: list[str] = []

    def arguments(self) -> list[Argument]:
        """What is read (fields; operator, operand, amount to add of each) and what is written, each with its number."""
        additions = self.additions
        names: list[Argument] = []
        rules: list[Argument] = []
        for name, guard in self.guards:
            names.append(name)
            rules += (guard.operator, guard.operand, additions.pop(name, ""))
        for name, amount in additions.items():
            names.append(name)
            rules += ("", "", amount)
        return [len(names), *names, *rules, len(self.values), *self.values]


class _Plan:
    """A transaction on its way to becoming KEYS and ARGV: sorted by key, as the script wants it."""

    __slots__ = (
        "_cap", "_keys", "_kinds", "_origin", "_prefix",
        "deleted", "hashes", "published", "sets", "spans", "streams", "texts", "writes", "written",
    )  # fmt: skip

    def __init__(self, origin: Origin, prefix: str, cap: str) -> None:
        self._origin, self._prefix, self._cap = origin, prefix, cap
        self._keys: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.hashes: dict[str, _HashPlan] = {}
        self.texts: list[Argument] = []
        self.sets: dict[int, None] = {}
        self.streams: dict[int, str] = {}
        self.writes: list[Argument] = []
        self.written = 0
        self.published: list[str] = []
        self.spans: list[telemetry.RecordedSpan] = []

    def key(self, name: str) -> int:
        """The key's number, from 1 in the order in which keys are first named."""
        return self._keys.setdefault(self._prefix + name, len(self._keys) + 1)

    def expect(self, kind: str, key: str) -> None:
        """Note what a key holds. The script would fail half-way over two kinds of things under one key."""
        if self._kinds.setdefault(key, kind) != kind:
            raise TypeError(f"{key} can't be a {self._kinds[key]} and a {kind} in one transaction")

    def hash(self, key: str) -> _HashPlan:
        plan = self.hashes.get(key)
        if plan is None:
            self.expect("hash", key)
            plan = self.hashes[key] = _HashPlan()
        return plan

    def guard(self, guard: Guard) -> None:
        if isinstance(guard.place, Field):
            self.hash(guard.place.key).guards.append((guard.place.name, guard))
        else:
            self.expect("string", guard.place.key)
            self.texts += (self.key(guard.place.key), guard.operator, guard.operand)

    def write(self, command: str, key: int, *arguments: Argument) -> None:
        self.written += 1
        self.writes += (command, key, len(arguments), *arguments)

    def add_to_field(self, write: AddToField) -> None:
        additions = self.hash(write.field.key).additions
        additions[write.field.name] = additions.get(write.field.name, 0) + write.amount

    def set_field(self, write: SetField) -> None:
        self.hash(write.field.key).values += (write.field.name, write.value)

    def set_text(self, write: SetText) -> None:
        if write.text.key not in self._kinds:  # no guard looks at it: the script shall see what it is, all the same
            self.texts += (self.key(write.text.key), "", "")
        self.expect("string", write.text.key)
        if write.ttl is None:
            self.write("SET", self.key(write.text.key), write.value)
        else:
            self.write("SET", self.key(write.text.key), write.value, "PX", milliseconds(write.ttl))

    def add_member(self, write: AddMember) -> None:
        score = float(write.score)
        if isnan(score):
            raise ValueError(f"{write.key}: the score of {write.member} is not a number")
        self.expect("sorted set", write.key)
        self.sets[self.key(write.key)] = None
        self.write("ZADD", self.key(write.key), repr(score), write.member)

    def remove_member(self, write: RemoveMember) -> None:
        self.expect("sorted set", write.key)
        self.sets[self.key(write.key)] = None
        self.write("ZREM", self.key(write.key), write.member)

    def expire(self, write: Expire) -> None:
        self.write("PEXPIRE", self.key(write.key), milliseconds(write.ttl))

    def delete(self, write: Delete) -> None:
        self.deleted.add(write.key)
        self.write("DEL", self.key(write.key))

    def publish(self, write: Publish) -> None:
        event, origin, event_id = write.event, self._origin, write.event_id
        self.expect("stream", event.stream)
        number = self.key(event.stream)
        self.streams[number] = self._cap
        if telemetry.records(origin.traceparent):
            event_id = event_id or new_id()
            origin, span = traced(event, origin, event_id)
            if span is not None:
                self.spans.append(span)
        self.published.append(event.stream)
        self.write("XADD", number, "*", "event", encode(event, origin, event_id))

    def append(self, write: Append) -> None:
        if not 1 <= len(write.fields) <= _most_entry_fields or (write.max_length or 0) < 0:
            raise ValueError(f"{write.stream}: the server would not take such an entry")
        self.expect("stream", write.stream)
        number = self.key(write.stream)
        self.streams.setdefault(number, "")
        limit: tuple[Argument, ...] = () if write.max_length is None else ("MAXLEN", "~", write.max_length)
        self.write("XADD", number, *limit, "*", *chain.from_iterable(write.fields))

    def finish(self, fence: Fence | None) -> tuple[list[str], list[Argument]]:
        """KEYS and ARGV, sections in the order in which the script reads them."""
        arguments: list[Argument] = ["", ""] if fence is None else [fence.group, fence.entry_id]
        arguments.append(len(self.hashes))
        for key, plan in self.hashes.items():
            if key in self.deleted and (plan.additions or plan.values):
                raise TypeError(f"{key} can't be written to and deleted in one transaction")
            if plan.values and not plan.additions.keys().isdisjoint(plan.values[::2]):
                raise TypeError(f"a field of {key} can't be set and added to in one transaction")
            arguments.append(self.key(key))
            arguments += plan.arguments()
        arguments.append(len(self.texts) // 3)
        arguments += self.texts
        arguments.append(len(self.sets))
        arguments += self.sets
        arguments.append(len(self.streams))
        for number, cap in self.streams.items():
            arguments += (number, cap)
        arguments.append(self.written)
        arguments += self.writes
        return list(self._keys), arguments


# More would not go through the script's stack.
_most_entry_fields = 1000

# By type and not by `match`: this is the hot path of every commit.
_planned: dict[type[Write], Callable[[_Plan, Any], None]] = {
    AddToField: _Plan.add_to_field,
    SetField: _Plan.set_field,
    SetText: _Plan.set_text,
    AddMember: _Plan.add_member,
    RemoveMember: _Plan.remove_member,
    Expire: _Plan.expire,
    Delete: _Plan.delete,
    Publish: _Plan.publish,
    Append: _Plan.append,
}


def compile_transaction(work: Work, prefix: str = "", cap: str = "") -> tuple[list[str], list[Argument]]:
    """KEYS and ARGV for `lua/commit.lua`, which documents their layout by reading them.

    Raises `TypeError` or `ValueError` for what the script could only fail over half-way, or would do in another order.
    """
    plan = _Plan(work.origin, prefix, cap)
    if work.fence is not None:
        plan.key(work.fence.stream)
    for guard in work.transaction.when:
        plan.guard(guard)
    for write in work.transaction.then:
        planned = _planned.get(type(write))
        if planned is None:
            raise TypeError(f"{write!r} is not a write")
        planned(plan, write)
    work.streams, work.spans = plan.published, plan.spans
    return plan.finish(work.fence)


def milliseconds(time: timedelta) -> int:
    """As Redis counts time; at least one, because it takes 0 for an error or for "now"."""
    return max(1, int(time.total_seconds() * 1000))


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
