"""Where personal data stands: installed packages declare it, so that `eventcore forget` finds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

ENTRY_POINTS = "eventcore.personal_data"
MASK = "forgotten"


@dataclass(frozen=True, slots=True)
class Records:
    """Hashes under `keys`, in which a `*` stands for the id of what they are about.

    A name is that of a field, or of a member of a field that holds a JSON object. What is `optional` is taken out; what
    a record can't be read without is `required`, and masked.
    """

    keys: str
    optional: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.optional + self.required

    def key(self, about: str) -> str:
        """Where the record of this id is kept."""
        return self.keys.replace("*", about, 1)

    def about(self, key: str) -> str:
        """The id in a key."""
        before, _, after = self.keys.partition("*")
        return key.removeprefix(before).removesuffix(after)


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Which members of events' data tell who somebody is, and which says what the event is about; and records of it.

    A package declares one under the entry point group `eventcore.personal_data`.
    """

    about: str
    events: tuple[str, ...]
    records: tuple[Records, ...] = ()


def declared() -> list[PersonalData]:
    """What the installed packages declare."""
    return [each.load() for each in sorted(entry_points(group=ENTRY_POINTS), key=lambda each: (each.name, each.value))]


@dataclass(slots=True)
class Person:
    """Somebody, by what was `given`; what is theirs (ids), and what that tells of them, is found."""

    given: frozenset[str]
    theirs: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, *given: str | None) -> Person:
        """Who has this customer id or mail address."""
        known = frozenset(_same(each) for each in given if each)
        return cls(known, told=set(known))

    def meet(self, about: str, named: Iterable[str], *, tells: Iterable[str]) -> None:
        """Something about an id names these: if the person is among them the id is theirs, and so is what it tells."""
        if self.given.intersection(map(_same, named)):
            self.theirs.add(about)
            self.told.update(map(_same, tells))

    def is_told_by(self, about: str, said: Iterable[str]) -> bool:
        """Whether something about an id says anything of them."""
        return about in self.theirs and any(map(self.has, said))

    def has(self, value: str) -> bool:
        """Whether this is a customer id or address of theirs."""
        return _same(value) in self.told


def _same(value: str) -> str:
    """Mail addresses are the same in capitals."""
    return value.casefold() if "@" in value else value


def said_by(fields: Mapping[bytes, bytes], names: Sequence[str]) -> list[str]:
    """What stands under these names in a record."""
    found: list[str] = []
    for name, value in fields.items():
        if name.decode("utf-8", "replace") in names:
            found.append(value.decode("utf-8", "replace"))
        else:
            found += members(_object(value), names)
    return found


def members(holder: Any, names: Sequence[str]) -> list[str]:
    """The texts that stand under these names in a JSON object."""
    if not isinstance(holder, dict):
        return []
    return [holder[name] for name in names if isinstance(holder.get(name), str)]


def changes(
    fields: Mapping[bytes, bytes], records: Records, is_theirs: Callable[[str], bool]
) -> dict[bytes, bytes | None]:
    """What a record's fields are to hold instead, to tell nothing of somebody; `None` for those that are to go."""
    found: dict[bytes, bytes | None] = {}
    for raw, value in fields.items():
        name = raw.decode("utf-8", "replace")
        if name in records.names:
            if is_theirs(value.decode("utf-8", "replace")):
                found[raw] = MASK.encode() if name in records.required else None
        elif (holder := _object(value)) is not None:
            kept = without(holder, records, is_theirs)
            if kept != holder:
                found[raw] = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode(
                    "utf-8", "surrogatepass"
                )
    return found


def without(holder: Mapping[str, Any], records: Records, is_theirs: Callable[[str], bool]) -> dict[str, Any]:
    """A JSON object that tells nothing of somebody."""
    kept: dict[str, Any] = {}
    for name, value in holder.items():
        if name not in records.names or not isinstance(value, str) or not is_theirs(value):
            kept[name] = value
        elif name in records.required:
            kept[name] = MASK
    return kept


def _object(value: bytes) -> dict[str, Any] | None:
    if not value.startswith(b"{"):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
