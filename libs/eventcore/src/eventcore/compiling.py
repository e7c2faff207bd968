"""Compiling transactions for the commit script: each becomes one argument of a call, whose keys they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import chain
from math import isnan
from typing import Any, Literal

from msgspec import Raw, Struct, msgpack

from . import telemetry
from .envelope import Origin, encode, new_id
from .errors import Conflict
from .sending import traced
from .transaction import (
    AddMember,
    AddToField,
    Append,
    Delete,
    Expire,
    Field,
    Guard,
    Publish,
    RemoveMember,
    SetFields,
    SetText,
    Transaction,
    Write,
)

# Within ±2**53 Lua's numbers are exact.
largest_integer = 2**53 - 1
# More would not go through the script's stack.
_most_entry_fields = 1000


class Fence(Struct, frozen=True, gc=False):
    """The delivery that a transaction settles: acknowledged by whoever commits first, and only by them."""

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


class Keys:
    """The keys of a call, and the fields of hashes that it looks at. Transactions name both by number."""

    __slots__ = ("_fields", "_new", "_numbers", "_prefix", "names")

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._numbers: dict[str, int] = {}
        self._fields: dict[int, Fields] = {}
        self._new: list[int] = []
        self.names: list[bytes] = []

    def number(self, key: str) -> int:
        """From 1, in the order in which keys are first named."""
        number = self._numbers.get(key)
        if number is None:
            self.names.append((self._prefix + key).encode())
            number = self._numbers[key] = len(self.names)
        return number

    def fields(self, number: int) -> Fields:
        """The fields that are looked at in the hash of this number."""
        fields = self._fields.get(number)
        if fields is None:
            fields = self._fields[number] = {}
        return fields

    def expect_new(self, number: int) -> None:
        """Say that the hash of this number is most likely not there yet."""
        self._new.append(number)

    def looked_at(self) -> bytes:
        """What the script is told of fields, once all transactions were compiled."""
        fields = {number: list(map(_text, names)) for number, names in self._fields.items() if names}
        return _packed((fields, self._new))


Fields = dict[str | bytes, int]
"""Names, those that are no text as bytes, with their numbers: from 1, in the order in which they are first named."""


def compile_transaction(work: Work, keys: Keys, cap: int | None = None) -> bytes:
    """The argument for `lua/commit.lua`, which documents its layout by reading it; `cap` is the hard cap of streams.

    Raises `TypeError`, `ValueError` or `Conflict` for what the script could only fail over half-way, or would do in
    another order.
    """
    plan = _Plan(work.origin, keys, cap or False)
    for guard in work.transaction.when:
        plan.guard(guard)
    for write in work.transaction.then:
        planned = _planned.get(type(write))
        if planned is None:
            raise TypeError(f"{write!r} is not a write")
        planned(plan, write)
    work.streams, work.spans = plan.published, plan.spans
    return _packed(plan.finish(work.fence))


_packed = msgpack.Encoder().encode


def _text(value: object) -> str | Raw:
    """As a string for the script, which could put nothing else into a command."""
    if isinstance(value, str):
        return value if value.__class__ is str else str.__str__(value)  # msgspec knows no subclass of `str`
    if isinstance(value, bytes):  # as MessagePack's str, which is a string of any bytes to Lua: it knows no other
        return Raw(b"\xdb%b%b" % (len(value).to_bytes(4, "big"), value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{value!r} can't be written: it is neither text nor a number")


def _field(name: object) -> str | bytes:
    """The name of a field, the same for the same field."""
    if isinstance(name, bytes):
        try:
            return name.decode()
        except UnicodeDecodeError:
            return name
    text = _text(name)
    return text if isinstance(text, str) else bytes(text)


class _HashPlan:
    """All that a transaction does with one hash.

    `rules` are the numbers of the fields that are looked at, with operator, operand and amount to add for each;
    `values` are fields and what to put into them.
    """

    __slots__ = ("_amounts", "_fields", "number", "rules", "values")

    def __init__(self, number: int, fields: Fields) -> None:
        self.number = number
        self.rules: list[Any] = []
        self.values: list[str | Raw] = []
        self._fields = fields
        self._amounts: dict[int, int] = {}  # where in `rules` the amount of a field stands

    def guard(self, name: str | bytes, guard: Guard) -> None:
        operand: str | Raw = guard.operand
        if name.__class__ is not str or operand.__class__ is not str:  # hardly ever: a look costs less than a call
            name, operand = _field(name), _text(operand)
        field = self._fields.get(name) or self._number(name)
        self._amounts.setdefault(field, len(self.rules) + 3)
        self.rules += (field, guard.operator, operand, False)

    def add(self, name: str | bytes, amount: int) -> int:
        """What is going to be added to this field in all."""
        if name.__class__ is not str:
            name = _field(name)
        field = self._fields.get(name) or self._number(name)
        place = self._amounts.get(field)
        if place is None:
            place = self._amounts[field] = len(self.rules) + 3
            self.rules += (field, False, False, False)
        total: int = self.rules[place] + amount
        self.rules[place] = total
        return total

    def _number(self, name: str | bytes) -> int:
        if isinstance(name, str):
            name.encode()  # raises now, for this transaction alone, what would else be raised for the call
        number = self._fields[name] = len(self._fields) + 1
        return number

    def check(self, key: str) -> None:
        """Raise `TypeError` where a field is added to and set."""
        for name in self.values[::2]:
            place = self._amounts.get(self._fields.get(name, 0)) if isinstance(name, str) else None
            if place is not None and self.rules[place] is not False:
                raise TypeError(f"{name!r} of {key} can't be set and added to in one transaction")

    def is_written(self) -> bool:
        return bool(self.values) or any(amount is not False for amount in self.rules[3::4])


class _Plan:
    """A transaction on its way to becoming an argument: sorted by key, as the script wants it."""

    __slots__ = (
        "_cap", "_deleted", "_hashes", "_keys", "_kinds", "_number", "_origin", "_sets", "_streams", "_texts",
        "_writes", "_written", "published", "spans",
    )  # fmt: skip

    def __init__(self, origin: Origin, keys: Keys, cap: int | Literal[False]) -> None:
        self._origin, self._keys, self._number, self._cap = origin, keys, keys.number, cap
        self._kinds: dict[str, str] = {}
        self._hashes: dict[str, _HashPlan] = {}
        self._streams: dict[int, int | Literal[False]] = {}
        self._writes: list[object] = []
        self._written = 0
        self._texts: list[object] = []
        self._sets: dict[int, None] = {}
        self._deleted: set[str] = set()
        self.published: list[str] = []
        self.spans: list[telemetry.RecordedSpan] = []

    def _expect(self, kind: str, key: str) -> None:
        """Note what a key holds. The script would fail half-way over two kinds of things under one key."""
        if self._kinds.setdefault(key, kind) != kind:
            raise TypeError(f"{key} can't be a {self._kinds[key]} and a {kind} in one transaction")

    def _hash(self, key: str) -> _HashPlan:
        plan = self._hashes.get(key)
        if plan is None:
            self._expect("hash", key)
            number = self._number(key)
            plan = self._hashes[key] = _HashPlan(number, self._keys.fields(number))
        return plan

    def guard(self, guard: Guard) -> None:
        place = guard.place
        if isinstance(place, Field):
            plan = self._hash(place.key)
            if guard.operator == "absent" and not plan.rules:
                self._keys.expect_new(plan.number)
            plan.guard(place.name, guard)
        else:
            self._expect("string", place.key)
            self._texts += (self._number(place.key), guard.operator, _text(guard.operand))

    def _write(self, command: str, key: int, *arguments: object) -> None:
        self._written += 1
        self._writes += (command, key, len(arguments), *arguments)

    def add_to_field(self, write: AddToField) -> None:
        amount = self._hash(write.field.key).add(write.field.name, write.amount)
        if not -largest_integer <= amount <= largest_integer:
            raise Conflict(f"{write.field}: {amount} can't be added: it is beyond the range of 2**53")

    def set_fields(self, write: SetFields) -> None:
        if not write.fields:
            return
        values = self._hash(write.key).values
        for name, value in write.fields:
            if name.__class__ is str and value.__class__ is str:
                values += (name, value)
            else:
                values += (_text(name), _text(value))

    def set_text(self, write: SetText) -> None:
        if write.text.key not in self._kinds:  # no guard looks at it: the script shall see what it is, all the same
            self._texts += (self._number(write.text.key), False, False)
        self._expect("string", write.text.key)
        limit = () if write.ttl is None else ("PX", milliseconds(write.ttl))
        self._write("SET", self._number(write.text.key), _text(write.value), *limit)

    def add_member(self, write: AddMember) -> None:
        score = float(write.score)
        if isnan(score):
            raise ValueError(f"{write.key}: the score of {write.member} is not a number")
        self._write("ZADD", self._set(write.key), repr(score), _text(write.member))

    def remove_member(self, write: RemoveMember) -> None:
        self._write("ZREM", self._set(write.key), _text(write.member))

    def _set(self, key: str) -> int:
        self._expect("sorted set", key)
        number = self._number(key)
        self._sets[number] = None
        return number

    def expire(self, write: Expire) -> None:
        self._write("PEXPIRE", self._number(write.key), milliseconds(write.ttl))

    def delete(self, write: Delete) -> None:
        self._deleted.add(write.key)
        self._write("DEL", self._number(write.key))

    def publish(self, write: Publish) -> None:
        event, origin, event_id = write.event, self._origin, write.event_id
        self._expect("stream", event.stream)
        number = self._number(event.stream)
        self._streams[number] = self._cap
        if telemetry.records(origin.traceparent):
            event_id = event_id or new_id()
            origin, span = traced(event, origin, event_id)
            if span is not None:
                self.spans.append(span)
        self.published.append(event.stream)
        self._write("XADD", number, "*", "event", encode(event, origin, event_id).decode())

    def append(self, write: Append) -> None:
        if not 1 <= len(write.fields) <= _most_entry_fields or (write.max_length or 0) < 0:
            raise ValueError(f"{write.stream}: the server would not take such an entry")
        self._expect("stream", write.stream)
        number = self._number(write.stream)
        self._streams.setdefault(number, False)
        limit = () if write.max_length is None else ("MAXLEN", "~", str(write.max_length))
        self._write("XADD", number, *limit, "*", *map(_text, chain.from_iterable(write.fields)))

    def finish(self, fence: Fence | None) -> list[object]:
        """The sections in the order in which the script reads them."""
        message: list[object] = [False if fence is None else fence.entry_id, len(self._hashes)]
        for key, plan in self._hashes.items():
            plan.check(key)
            if key in self._deleted and plan.is_written():
                raise TypeError(f"{key} can't be written to and deleted in one transaction")
            message += (plan.number, len(plan.rules) // 4, *plan.rules, len(plan.values), *plan.values)
        message.append(len(self._texts) // 3)
        message += self._texts
        message.append(len(self._sets))
        message += self._sets
        message.append(len(self._streams))
        for number, cap in self._streams.items():
            message += (number, cap)
        message.append(self._written)
        message += self._writes
        return message


# By type and not by `match`: this is the hot path of every commit.
_planned: dict[type[Write], Callable[[_Plan, Any], None]] = {
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


def milliseconds(time: timedelta) -> str:
    """As Redis counts time; at least one, because it takes 0 for an error or for "now"."""
    return str(max(1, time // _millisecond))


_millisecond = timedelta(milliseconds=1)


def guards_in_script_order(guards: Sequence[Guard]) -> list[Guard]:
    """The guards in the order in which the script reports what it found: hashes by key, then strings."""
    hashes: dict[str, list[Guard]] = {}
    texts: list[Guard] = []
    for guard in guards:
        if isinstance(guard.place, Field):
            hashes.setdefault(guard.place.key, []).append(guard)
        else:
            texts.append(guard)
    return [*(guard for group in hashes.values() for guard in group), *texts]
