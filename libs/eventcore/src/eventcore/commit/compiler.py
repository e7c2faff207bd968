"""Compiling transactions for the commit script: each becomes one argument of a call, whose keys they share."""

# The grammar of a call of lua/commit.lua. KEYS are named by their number, from 1. ARGV are group ('' where no delivery
# is settled), looked_at, and one transaction or more: all but the group in MessagePack. A transaction is one flat list;
# a count stands before as many of what is in parentheses (of names and values: before as many words).
#
#   looked_at   = [{hash: [field …] …}, [hash that is expected not to be there …]]
#   transaction = entry id or false, hashes, strings, sorted sets, streams, writes, and reads if there are any
#   hashes      = count, (key, count, (field's number, operator or false, operand, amount to add or false) …,
#                 count, (name, value) …) …
#   strings     = count, (key, operator or false, operand) …
#   sorted sets = count, (key) …
#   streams     = count, (key, hard cap or false) …
#   writes      = count, (command, key, count, (argument) …) …   in the order in which they are made, entries first
#   reads       = count, (command, key, count, (argument) …) …   what `otherwise` is to see if a guard fails

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from math import isnan
from operator import index
from typing import Any, Literal

from msgspec import Raw, Struct

from eventcore import telemetry
from eventcore.errors import Conflict
from eventcore.events.envelope import Origin, encode, new_id

from .key_numbers import FieldNumbers, KeyNumbers, field_name, packed, script_text
from .publishing import traced
from .query import Readable
from .transaction import (
    AddMember,
    AddToField,
    Append,
    Delete,
    Expire,
    Guard,
    HashField,
    Publish,
    RemoveMember,
    SetFields,
    SetText,
    Transaction,
    Write,
)

# Within ±2**53 Lua's numbers are exact.
LARGEST_INTEGER = 2**53 - 1
# The server would close the connection over an argument larger than its `proto-max-bulk-len`, 512 MiB by default.
MOST_BYTES = 256 * 1024 * 1024
# More would not go through the script's stack.
_MOST_ENTRY_FIELDS = 1000


class Fence(Struct, frozen=True, gc=False):
    """The delivery that a transaction settles: only the first commit of it takes effect and acknowledges it."""

    stream: str
    group: str
    entry_id: str


class Work(Struct):
    """One transaction to commit, with where it comes from and, for a delivery, what it settles.

    `streams` and `spans` are those of the events in it, once it was compiled.
    """

    transaction: Transaction
    origin: Origin
    fence: Fence | None = None
    streams: Sequence[str] = ()
    spans: Sequence[telemetry.RecordedSpan] = ()


def compile_transaction(work: Work, keys: KeyNumbers, cap: int | None = None) -> bytes:
    """The argument for `lua/commit.lua`, by the grammar above; `cap` is the hard cap of streams.

    Raises `TypeError`, `ValueError` or `Conflict` for what the script could only fail over half-way, or would do in
    another order.
    """
    before = keys.mark()
    try:
        plan = _Plan(work.origin, keys, cap or False)
        for guard in work.transaction.when:
            plan.guard(guard)
        for write in work.transaction.then:
            planned = _PLANNED.get(type(write))
            if planned is None:
                raise TypeError(f"{write!r} is not a write")
            planned(plan, write)
        items = plan.finish(work.fence)
        if work.transaction.reads:
            items += plan.reads(work.transaction.reads)
        message = packed(items)
        if len(message) > MOST_BYTES:
            raise ValueError(f"a transaction of {len(message):,} bytes can't be committed: {MOST_BYTES:,} are the most")
    except BaseException:
        keys.undo(before)
        raise
    work.streams, work.spans = plan.published, plan.spans
    return message


class _HashPlan(Struct):
    """All that a transaction does with one hash.

    `rules` are the numbers of the fields that are looked at, with operator, operand and amount to add for each;
    `values` are fields and what to put into them.
    """

    number: int
    keys: KeyNumbers
    fields: FieldNumbers
    rules: list[Any] = []
    values: list[str | Raw] = []
    amounts: dict[int, int] = {}
    """Where in `rules` the amount of a field stands."""
    adds: bool = False

    def guard(self, guard: Guard, place: HashField) -> None:
        name: str | bytes = place.name
        operand: str | Raw = guard.operand
        if name.__class__ is not str or operand.__class__ is not str:  # hardly ever: a look costs less than a call
            name, operand = field_name(name), script_text(operand)
        field = self.fields.get(name) or self.keys.name(name, self.fields)
        self.amounts.setdefault(field, len(self.rules) + 3)
        self.rules += (field, guard.operator, operand, False)

    def add(self, name: str | bytes, amount: int) -> int:
        """What is going to be added to this field in all."""
        if name.__class__ is not str:
            name = field_name(name)
        field = self.fields.get(name) or self.keys.name(name, self.fields)
        place = self.amounts.get(field)
        if place is None:
            place = self.amounts[field] = len(self.rules) + 3
            self.rules += (field, False, False, False)
        total: int = self.rules[place] + amount
        self.rules[place] = total
        self.adds = True
        return total

    def put(self, fields: Sequence[tuple[str, str]]) -> None:
        for pair in fields:
            name, value = pair
            if name.__class__ is str and value.__class__ is str:
                self.values += pair
            else:
                self.values += (script_text(name), script_text(value))

    def check(self, key: str, deleted: bool) -> None:
        """Raise `TypeError` for writes that the script would make in another order."""
        if deleted and (self.values or self.adds):
            raise TypeError(f"{key} can't be written to and deleted in one transaction")
        for name in self.values[::2] if self.adds else ():
            place = self.amounts.get(self.fields.get(name, 0)) if isinstance(name, str) else None
            if place is not None and self.rules[place] is not False:
                raise TypeError(f"{name!r} of {key} can't be set and added to in one transaction")


class _Plan(Struct):
    """A transaction on its way to becoming an argument: sorted by key, as the script wants it."""

    origin: Origin
    keys: KeyNumbers
    cap: int | Literal[False]
    published: list[str] = []
    spans: list[telemetry.RecordedSpan] = []
    _kinds: dict[str, str] = {}
    _hashes: dict[str, _HashPlan] = {}
    _texts: list[object] = []
    _sets: dict[int, None] = {}
    _streams: dict[int, int | Literal[False]] = {}
    _appends: list[object] = []
    _writes: list[object] = []
    _written: int = 0
    _deleted: set[str] = set()
    # Keys that expire or are deleted, whatever they hold: no entry may come before that.
    _treated: set[int] = set()

    def _use(self, key: str, kind: str) -> int:
        """The number of a key that holds such a thing: the script would fail half-way over two kinds under one key."""
        if self._kinds.setdefault(key, kind) != kind:
            raise TypeError(f"{key} can't be a {self._kinds[key]} and a {kind} in one transaction")
        return self.keys.number(key)

    def _hash(self, key: str) -> _HashPlan:
        plan = self._hashes.get(key)
        if plan is None:
            number = self._use(key, "hash")
            plan = self._hashes[key] = _HashPlan(number, self.keys, self.keys.fields(number))
        return plan

    def guard(self, guard: Guard) -> None:
        place = guard.place
        if isinstance(place, HashField):
            plan = self._hash(place.key)
            if guard.operator == "absent" and not plan.rules:
                self.keys.expect_new(plan.number)
            plan.guard(guard, place)
        else:
            self._texts += (self._use(place.key, "string"), guard.operator, script_text(guard.operand))

    def _write(self, command: str, key: int, *arguments: object) -> None:
        self._written += 1
        # Entries first: what the server may still refuse then is the first write of all.
        writes = self._appends if command == "XADD" and key not in self._treated else self._writes
        writes += (command, key, len(arguments))
        writes += arguments

    def add_to_field(self, write: AddToField) -> None:
        if not isinstance(write.amount, int):
            raise TypeError(f"{write.field}: {write.amount!r} can't be added: it is no integer")
        amount = self._hash(write.field.key).add(write.field.name, write.amount)
        if not -LARGEST_INTEGER <= amount <= LARGEST_INTEGER:
            raise Conflict(f"{write.field}: {amount} can't be added: it is beyond the range of 2**53")

    def set_fields(self, write: SetFields) -> None:
        if write.fields:
            self._hash(write.key).put(write.fields)

    def set_text(self, write: SetText) -> None:
        seen = write.text.key in self._kinds
        number = self._use(write.text.key, "string")
        if not seen:  # no guard looks at it: the script shall see what it is, all the same
            self._texts += (number, False, False)
        limit = () if write.ttl is None else ("PX", milliseconds_text(write.ttl))
        self._write("SET", number, script_text(write.value), *limit)

    def add_member(self, write: AddMember) -> None:
        score = float(write.score)
        if isnan(score):
            raise ValueError(f"{write.key}: the score of {write.member} is not a number")
        number = self._use(write.key, "sorted set")
        self._sets[number] = None
        self._write("ZADD", number, repr(score), script_text(write.member))

    def remove_member(self, write: RemoveMember) -> None:
        number = self._use(write.key, "sorted set")
        self._sets[number] = None
        self._write("ZREM", number, script_text(write.member))

    def expire(self, write: Expire) -> None:
        number = self.keys.number(write.key)
        self._treated.add(number)
        self._write("PEXPIRE", number, milliseconds_text(write.ttl))

    def delete(self, write: Delete) -> None:
        number = self.keys.number(write.key)
        self._deleted.add(write.key)
        self._treated.add(number)
        self._write("DEL", number)

    def publish(self, write: Publish) -> None:
        event, origin, event_id = write.event, self.origin, write.event_id
        number = self._use(event.stream, "stream")
        self._streams[number] = self.cap
        if telemetry.is_recorded(origin.traceparent):
            event_id = event_id or new_id()
            origin, span = traced(event, origin, event_id)
            if span is not None:
                self.spans.append(span)
        self.published.append(event.stream)
        self._write("XADD", number, "*", "event", encode(event, origin, event_id).decode())

    def append(self, write: Append) -> None:
        if not 1 <= len(write.fields) <= _MOST_ENTRY_FIELDS or index(write.max_length or 0) < 0:
            raise ValueError(f"{write.stream}: the server would not take such an entry")
        number = self._use(write.stream, "stream")
        self._streams.setdefault(number, False)
        limit = () if write.max_length is None else ("MAXLEN", "~", str(min(write.max_length, LARGEST_INTEGER)))
        values = [script_text(part) for name, value in write.fields for part in (name, value)]
        self._write("XADD", number, *limit, "*", *values)

    def reads(self, places: Sequence[Readable[Any]]) -> list[object]:
        """What stands behind the writes, where the script looks for it only if a guard fails."""
        section: list[object] = [len(places)]
        for query in [place.query for place in places]:
            words = map(script_text, query.arguments)
            section += (query.command, self.keys.number(query.key), len(query.arguments), *words)
        return section

    def finish(self, fence: Fence | None) -> list[object]:
        """The sections in the order in which the script reads them."""
        message: list[object] = [False if fence is None else fence.entry_id, len(self._hashes)]
        for key, plan in self._hashes.items():
            if plan.adds or self._deleted:
                plan.check(key, key in self._deleted)
            message += (plan.number, len(plan.rules) // 4)
            message += plan.rules
            message.append(len(plan.values))
            message += plan.values
        message.append(len(self._texts) // 3)
        message += self._texts
        message.append(len(self._sets))
        message += self._sets
        message.append(len(self._streams))
        for stream in self._streams.items():
            message += stream
        message.append(self._written)
        message += self._appends
        message += self._writes
        return message


# By type and not by `match`: this is the hot path of every commit.
_PLANNED: dict[type[Write], Callable[[_Plan, Any], None]] = {
    AddToField: _Plan.add_to_field,
    SetFields: _Plan.set_fields,
    SetText: _Plan.set_text,
    AddMember: _Plan.add_member,
    RemoveMember: _Plan.remove_member,
    Expire: _Plan.expire,
    Delete: _Plan.delete,
    Publish: _Plan.publish,
    Append: _Plan.append,
}


@lru_cache(maxsize=64)  # of the few times for which a service keeps things
def milliseconds_text(time: timedelta) -> str:
    """As Redis counts time; at least one, because it takes 0 for an error or for "now"."""
    return str(max(1, time // _MILLISECOND))


_MILLISECOND = timedelta(milliseconds=1)


def guards_in_script_order(guards: Sequence[Guard]) -> list[Guard]:
    """The guards in the order in which the script reports what it found: hashes by key, then strings."""
    hashes: dict[str, list[Guard]] = {}
    texts: list[Guard] = []
    for guard in guards:
        if isinstance(guard.place, HashField):
            hashes.setdefault(guard.place.key, []).append(guard)
        else:
            texts.append(guard)
    return [*(guard for group in hashes.values() for guard in group), *texts]
