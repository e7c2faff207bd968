"""Transactions committed in memory, for tests of rules: one at a time, or several at once in every possible order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from eventcore import Event, Found, GuardFailed, Hash, HashField, Readable, Transaction, Write
from eventcore.commit.transaction import AddMember, AddToField, Expire, Publish, RemoveMember, SetFields, SetText

T = TypeVar("T")


@dataclass
class Memory:
    """What a server would hold. A turn is what one call of the commit script does: all of a transaction, or nothing."""

    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    ttls: dict[str, timedelta] = field(default_factory=dict)
    published: list[Event] = field(default_factory=list)

    def commit(self, transaction: Transaction | None) -> list[Event]:
        """Turn after turn until it is committed; the events that it published. Raises `GuardFailed` like the store."""
        before = len(self.published)
        while transaction is not None:
            transaction = self.turn(transaction)
        return self.published[before:]

    def turn(self, transaction: Transaction) -> Transaction | None:
        """Commit; or, where a guard fails, write nothing and return what is decided instead."""
        guarded = [(guard, self.look(guard.place)) for guard in transaction.when]
        found = Found(guarded, [(place, self.look(place)) for place in transaction.reads])
        if found.failed:
            again = transaction.decide_again(found)
            if again is None:
                raise GuardFailed(", ".join(map(str, found.failed)), found)
            return again
        for write in transaction.then:
            self._write(write)
        return None

    def look(self, place: Readable[T]) -> T:
        """What stands there, in a field or a string."""
        query = place.query
        in_hash = query.command == "HGET"
        held = self.hashes.get(query.key, {}).get(str(query.arguments[0])) if in_hash else self.texts.get(query.key)
        return query.understand(None if held is None else held.encode())

    def number(self, place: HashField) -> int:
        """The integer that stands there; nothing is 0."""
        return self.look(place.as_int) or 0

    def copy(self) -> Memory:
        """Another one that holds the same."""
        hashes = {key: dict(fields) for key, fields in self.hashes.items()}
        sets = {key: set(members) for key, members in self.sets.items()}
        return Memory(hashes, dict(self.texts), sets, dict(self.ttls), list(self.published))

    def state(self) -> str:
        """All of it, for comparing; in which order events were published does not matter."""
        sets = {key: sorted(members) for key, members in sorted(self.sets.items()) if members}
        hashes = {key: sorted(fields.items()) for key, fields in sorted(self.hashes.items())}
        return f"{hashes} {sorted(self.texts.items())} {sets} {sorted(map(repr, self.published))}"

    def _write(self, write: Write) -> None:
        match write:
            case SetFields(key, fields):
                self.hashes.setdefault(key, {}).update(fields)
            case AddToField(place, amount):
                self.hashes.setdefault(place.key, {})[place.name] = str(self.number(place) + amount)
            case SetText(text, value, ttl):
                self.texts[text.key] = value
                if ttl is not None:
                    self.ttls[text.key] = ttl
            case AddMember(key, member):
                self.sets.setdefault(key, set()).add(member)
            case RemoveMember(key, member):
                self.sets.get(key, set()).discard(member)
            case Expire(key, ttl):
                self.ttls[key] = ttl
            case Publish(event):
                self.published.append(event)
            case _:
                raise TypeError(f"{write!r} is not known in memory")


Reaction = Callable[[Event], Iterable[Transaction]]


def interleaved(
    start: Memory,
    transactions: Iterable[Transaction],
    *,
    react: Reaction = lambda event: (),
    refusals: tuple[type[Exception], ...] = (),
) -> Iterator[Memory]:
    """Run transactions side by side, turn by turn in every possible order; each end that this can come to.

    What consumers do about the events published on the way (`react`) is interleaved with all the rest. A transaction
    that raises one of `refusals` is over.
    """
    seen: set[str] = set()
    waiting = [(start, list(transactions))]
    while waiting:
        memory, running = waiting.pop()
        state = "\n".join([memory.state(), *sorted(f"{each.when} {each.then}" for each in running)])
        if state in seen:
            continue
        seen.add(state)
        if not running:
            yield memory
        for each in running:
            after, others = memory.copy(), [other for other in running if other is not each]
            with suppress(*refusals):
                if (again := after.turn(each)) is not None:
                    others.append(again)
            reactions = [new for event in after.published[len(memory.published) :] for new in react(event)]
            waiting.append((after, [*others, *reactions]))


def fields_put(transaction: Transaction, place: Hash) -> dict[str, str]:
    """The fields of a hash that a transaction puts, and what it puts there."""
    puts = [write for write in transaction.then if isinstance(write, SetFields) and write.key == place.key]
    return {name: value for put in puts for name, value in put.fields}
