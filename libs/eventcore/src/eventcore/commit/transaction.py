"""A transaction: what a piece of work decides, as plain values. Guards to hold, writes to make, events to publish.

Nothing here speaks to Redis; `commit` does. So a rule that returns a transaction is tested without a server:

    assert reserve(order).then == [Stock("11").take(2), publish(InventoryReserved(...))]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from inspect import iscoroutine
from typing import Any, Literal

from msgspec import Struct

from eventcore.errors import Unreadable
from eventcore.events.event import Event
from eventcore.telemetry import Tally

from .query import (
    Members,
    Query,
    Readable,
    T,
    check_count,
    each_text,
    integers,
    maybe_integer,
    maybe_score,
    maybe_text,
    page_of,
    ranking,
    texts,
    yes,
)

Operator = Literal["absent", "present", "equals", "at_least"]


class _Value(Struct, frozen=True, gc=False):
    """A value of texts, numbers and such values alone: in no reference cycle, so no garbage collection is needed."""


class Guard(_Value, frozen=True):
    """A condition on one place. If it doesn't hold when the transaction commits, nothing at all is written."""

    place: HashField | String
    operator: Operator
    operand: str = ""

    def __bool__(self) -> bool:
        """Refused: `one and another` would be the other alone."""
        raise TypeError(f"a guard is neither true nor false before it is committed: {self}")

    def __str__(self) -> str:
        return f"{self.place} {self.operator.replace('_', ' ')} {self.operand}".rstrip()


class SetFields(_Value, frozen=True):
    """Put values into fields of one hash: a name and a value each."""

    key: str
    fields: tuple[tuple[str, str], ...]


class AddToField(_Value, frozen=True):
    """Add `amount` to an integer field (absent counts as 0). Additions to one field in one transaction add up."""

    field: HashField
    amount: int


class SetText(_Value, frozen=True):
    """Put a string under a key, which expires after `ttl`."""

    text: String
    value: str
    ttl: timedelta | None


class AddMember(_Value, frozen=True):
    """Put a member into a sorted set."""

    key: str
    member: str
    score: float


class RemoveMember(_Value, frozen=True):
    """Take a member out of a sorted set."""

    key: str
    member: str


class Expire(_Value, frozen=True):
    """Let a key expire `ttl` from now."""

    key: str
    ttl: timedelta


class Delete(_Value, frozen=True):
    """Remove a key."""

    key: str


class Publish(Struct, frozen=True):
    """Append an event to its stream; `event_id` where the caller already gave it one."""

    event: Event
    event_id: str | None = None


class Append(_Value, frozen=True):
    """Append an entry of any shape to a stream, keeping about `max_length` entries there."""

    stream: str
    fields: tuple[tuple[str, str | bytes], ...]
    max_length: int | None = None


Write = SetFields | AddToField | SetText | AddMember | RemoveMember | Expire | Delete | Publish | Append


class HashField(_Value, frozen=True):
    """One field of a hash."""

    key: str
    name: str

    def __ge__(self, least: int) -> Guard:
        """Guard: holds an integer of at least this much."""
        if not isinstance(least, int):
            raise TypeError(f"{self} can't be compared with {least!r}: it is no integer")
        return Guard(self, "at_least", str(least))

    def equals(self, value: str) -> Guard:
        """Guard: holds exactly this text."""
        return Guard(self, "equals", value)

    def absent(self) -> Guard:
        """Guard: is not there."""
        return Guard(self, "absent")

    def present(self) -> Guard:
        """Guard: is there, whatever it holds."""
        return Guard(self, "present")

    def set(self, value: str | int) -> SetFields:
        """Write: this value."""
        return SetFields(self.key, ((self.name, str(value)),))

    def add(self, amount: int) -> AddToField:
        """Write: this much more (or less)."""
        return AddToField(self, amount)

    @property
    def query(self) -> Query[str | None]:
        """Read: what it holds."""
        return Query(self.key, "HGET", (self.name,), maybe_text)

    @property
    def as_int(self) -> Query[int | None]:
        """Read: the integer that it holds."""
        return Query(self.key, "HGET", (self.name,), maybe_integer)

    def __str__(self) -> str:
        return f"{self.key}[{self.name}]"


class Hash(_Value, frozen=True):
    """A hash: an object of named fields under one key."""

    key: str

    def __getitem__(self, name: str) -> HashField:
        """One of its fields."""
        return HashField(self.key, name)

    def set(self, values: Mapping[str, str | int | None]) -> SetFields:
        """Write: these fields; those that are `None` are left alone."""
        return SetFields(self.key, tuple([(name, str(value)) for name, value in values.items() if value is not None]))

    def expire(self, ttl: timedelta) -> Expire:
        """Write: vanish `ttl` from now."""
        return Expire(self.key, ttl)

    @property
    def query(self) -> Query[dict[str, str]]:
        """Read: all fields; none where there is no such hash."""
        return Query(self.key, "HGETALL", (), texts)

    @property
    def as_int(self) -> Query[dict[str, int]]:
        """Read: all fields, as integers."""
        return Query(self.key, "HGETALL", (), integers)

    @property
    def each(self) -> Query[dict[str, str | Unreadable]]:
        """Read: all fields, an `Unreadable` in the place of a value that is not text."""
        return Query(self.key, "HGETALL", (), each_text)

    @property
    def exists(self) -> Query[bool]:
        """Read: whether there is anything under this key."""
        return Query(self.key, "EXISTS", (), yes)


class String(_Value, frozen=True):
    """A plain string under one key."""

    key: str

    def equals(self, value: str) -> Guard:
        """Guard: holds exactly this text."""
        return Guard(self, "equals", value)

    def absent(self) -> Guard:
        """Guard: is not there."""
        return Guard(self, "absent")

    def present(self) -> Guard:
        """Guard: is there, whatever it holds."""
        return Guard(self, "present")

    def set(self, value: str, *, ttl: timedelta | None = None) -> SetText:
        """Write: this value, for so long."""
        return SetText(self, value, ttl)

    @property
    def query(self) -> Query[str | None]:
        """Read: what it holds."""
        return Query(self.key, "GET", (), maybe_text)

    @property
    def as_int(self) -> Query[int | None]:
        """Read: the integer that it holds."""
        return Query(self.key, "GET", (), maybe_integer)

    def __str__(self) -> str:
        return self.key


class SortedSet(_Value, frozen=True):
    """Members in the order of their scores, and of their text where scores are equal: an index."""

    key: str

    def add(self, member: str, score: float = 0) -> AddMember:
        """Write: add this member."""
        return AddMember(self.key, member, score)

    def remove(self, member: str) -> RemoveMember:
        """Write: remove this member."""
        return RemoveMember(self.key, member)

    def score(self, member: str) -> Query[float | None]:
        """Read: the score of a member; `None` where it is none."""
        return Query(self.key, "ZSCORE", (member,), maybe_score)

    def page(
        self, *, after: str | None = None, before: str | None = None, count: int, reverse: bool = False
    ) -> Query[Members]:
        """Read: at most `count` members between these two, in the order of their text: all must have one score."""
        return page_of(self.key, after=after, before=before, count=count, reverse=reverse)

    def ranked(self, first: int = 0, *, count: int, reverse: bool = False) -> Query[list[tuple[str, float]]]:
        """Read: members with their scores, in that order (`reverse`: the highest first), from the `first` on."""
        check_count(count)
        order = ("REV",) if reverse else ()
        return Query(self.key, "ZRANGE", (first, first + count - 1, *order, "WITHSCORES"), ranking)


def publish(event: Event, *, event_id: str | None = None) -> Publish:
    """Write: append this event to its stream."""
    return Publish(event, event_id)


def delete(key: str) -> Delete:
    """Write: remove this key."""
    return Delete(key)


class Found(Mapping[Any, Any]):
    """What the guarded places, and those of `reads`, held when a guard failed, for deciding again."""

    def __init__(
        self, values: Iterable[tuple[Guard, str | None]], reads: Iterable[tuple[Readable[Any], Any]] = ()
    ) -> None:
        self._guards = tuple(values)
        self._values: dict[Readable[Any], Any] = {guard.place: value for guard, value in self._guards} | dict(reads)

    def __getitem__(self, place: Readable[T]) -> T:
        value: T = self._values[place]
        return value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def failed(self) -> tuple[Guard, ...]:
        """The guards that did not hold."""
        return tuple(guard for guard, value in self._guards if not _holds(guard, value))


Otherwise = Callable[[Found], "Transaction | Sequence[Write]"]


class Transaction(Struct, frozen=True):
    """Commits as a whole, together with the acknowledgement of the event it came from, or not at all.

    Only if every guard of `when` holds are the writes of `then` made. If one fails nothing is written, and
    `otherwise` is asked, with what was found, what to do instead: another transaction, or plain writes. Without it the
    caller gets `GuardFailed`. `reads` are places that `otherwise` is to see beside the guarded ones: they are read at
    the same moment, and only if a guard fails.

    `counts` is added to the metrics of the process once the transaction is known to have been committed: never twice,
    but not at all where the answer to the commit was lost.
    """

    when: Sequence[Guard] = ()
    then: Sequence[Write] = ()
    otherwise: Otherwise | None = None
    counts: Sequence[Tally] = ()
    reads: Sequence[Readable[Any]] = ()

    def decide_again(self, found: Found) -> Transaction | None:
        """The transaction to try after a guard failed; `None` without an `otherwise`."""
        if self.otherwise is None:
            return None
        decision: object = self.otherwise(found)
        if isinstance(decision, str) or not isinstance(decision, Transaction | Sequence):
            raise _wrong("`otherwise` returns a Transaction or a list of writes", decision)
        return plain(decision if isinstance(decision, Transaction) else Transaction(then=decision))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to check and nothing to write: acknowledging is all."""
        return not self.when and not self.then


NOTHING = Transaction()


def plain(decision: object, *, or_none: bool = False) -> Transaction:
    """What a handler has decided, as a `Transaction` whose parts can be read again when a commit is repeated.

    `or_none`: it may return `None`, which writes nothing. Raises `TypeError` for anything else, and whatever its parts
    raise when they are read.
    """
    if decision is None and or_none:
        return NOTHING
    if (
        type(decision) is Transaction
        and type(decision.when) in _READ_AGAIN
        and type(decision.then) in _READ_AGAIN
        and type(decision.counts) in _READ_AGAIN
        and type(decision.reads) in _READ_AGAIN
    ):
        return decision
    if not isinstance(decision, Transaction):
        raise _wrong("a handler returns a Transaction", decision)
    # A generator, for one, would have nothing left to say where a commit is sent again.
    return Transaction(
        tuple(decision.when), tuple(decision.then), decision.otherwise, tuple(decision.counts), tuple(decision.reads)
    )


_READ_AGAIN = (tuple, list)


def _wrong(rule: str, decision: object) -> TypeError:
    if iscoroutine(decision):
        decision.close()  # nobody will await it
    return TypeError(f"{rule}, not {type(decision).__name__}")


def _holds(guard: Guard, value: str | None) -> bool:
    match guard.operator:
        case "absent":
            return value is None
        case "present":
            return value is not None
        case "equals":
            return value == guard.operand
        case "at_least":
            return value is not None and int(value) >= int(guard.operand)
