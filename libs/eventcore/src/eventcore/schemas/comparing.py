"""Comparing two schemas of one event: what has changed, and whether every program would still understand every event.

Within a major version programs of all minors run side by side. A reader may be older than what it reads, or newer; so a
field may neither be narrowed (old events would not fit any more) nor widened (old programs could not read new events).
All that a minor can do is to add optional fields, which older programs ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import gt, lt
from typing import Any

from .model_names import Schema


class ChangeKind(StrEnum):
    """What can become of a field."""

    ADDED = "added"
    REMOVED = "removed"
    NARROWED = "narrowed"
    WIDENED = "widened"
    RETYPED = "retyped"
    REQUIRED = "required"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two schemas: where (`items[].quantity`), of what kind, and in words."""

    place: str
    kind: ChangeKind
    text: str

    @property
    def breaking(self) -> bool:
        """Whether it needs a new major version."""
        return self.kind is not ChangeKind.ADDED

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


# Words for people, and values that stand for others.
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "examples", "deprecated"}
# Limits, with how to tell that a second one allows less than a first one.
_LIMITS: Mapping[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), gt),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), lt),
}
_CHOICES = ("anyOf", "oneOf", "allOf")
_COMPARED = {*_ANNOTATIONS, *_LIMITS, *_CHOICES, "type", "enum", "const", "properties", "required", "items"}
_NOTHING: Schema = {}


def compare(old: Schema, new: Schema) -> list[Change]:
    """All differences that a program could notice; words may differ."""
    return list(_Comparison(old.get("$defs", {}), new.get("$defs", {})).of(old, new, "data"))


class _Comparison:
    """One comparison, with the definitions that each side refers to."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._under_way: set[tuple[str, str]] = set()

    def of(self, old: Schema, new: Schema, place: str) -> Iterator[Change]:
        """The differences between two schemas of what stands at this place."""
        (old, old_null), (new, new_null) = _without_null(old), _without_null(new)
        if old_null and not new_null:
            yield Change(place, ChangeKind.NARROWED, "may not be null any more")
        if new_null and not old_null:
            yield Change(place, ChangeKind.WIDENED, "may be null now")
        names = old.get("$ref", ""), new.get("$ref", "")
        if names in self._under_way:
            return  # a model that contains itself
        if all(names):
            self._under_way.add(names)
        yield from self._resolved(_resolve(old, self._old), _resolve(new, self._new), place)
        self._under_way.discard(names)

    def _resolved(self, old: Schema, new: Schema, place: str) -> Iterator[Change]:
        if (was := old.get("type")) != (now := new.get("type")):
            yield Change(place, ChangeKind.RETYPED, f"was {_shown(was)}, is {_shown(now)}")
            return
        yield from _values(old, new, place)
        for name, is_less in _LIMITS.items():
            yield from _limit(name, old.get(name), new.get(name), is_less, place)
        for name in sorted((old.keys() | new.keys()) - _COMPARED):
            if old.get(name) != new.get(name):
                yield Change(
                    place, ChangeKind.CHANGED, f"{name} was {_shown(old.get(name))}, is {_shown(new.get(name))}"
                )
        for name in _CHOICES:
            yield from self._choice(old.get(name, ()), new.get(name, ()), place)
        yield from self._fields(old, new, place)
        if "items" in old or "items" in new:
            yield from self.of(old.get("items", _NOTHING), new.get("items", _NOTHING), f"{place}[]")

    def _choice(self, old: Any, new: Any, place: str) -> Iterator[Change]:
        if len(old) != len(new):
            yield Change(place, ChangeKind.RETYPED, f"could be one of {len(old)} things, and now of {len(new)}")
            return
        for before, after in zip(old, new, strict=True):
            yield from self.of(before, after, place)

    def _fields(self, old: Schema, new: Schema, place: str) -> Iterator[Change]:
        before, after = old.get("properties", _NOTHING), new.get("properties", _NOTHING)
        was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            here = f"{place}.{name}"
            if name not in after:
                yield Change(here, ChangeKind.REMOVED, "was removed")
                continue
            if name in is_required - was_required:
                yield Change(here, ChangeKind.REQUIRED, "could be left out, and is required now")
            if name in was_required - is_required:
                yield Change(here, ChangeKind.WIDENED, "was required, and may be left out now")
            yield from self.of(before[name], after[name], here)
        for name in after:
            if name not in before:
                added = name not in is_required
                yield Change(
                    f"{place}.{name}",
                    ChangeKind.ADDED if added else ChangeKind.REQUIRED,
                    "is new and optional" if added else "is new and required",
                )


def _resolve(schema: Schema, definitions: Schema) -> Schema:
    while reference := schema.get("$ref"):
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**definitions[reference.rpartition("/")[2]], **beside}
    return schema


def _without_null(schema: Schema) -> tuple[Schema, bool]:
    """The schema of all values but null, and whether null was one of them."""
    choices = schema.get("anyOf", ())
    rest = [each for each in choices if each != {"type": "null"}]
    if len(rest) == len(choices):
        return schema, False
    beside = {name: value for name, value in schema.items() if name != "anyOf"}
    return ({**rest[0], **beside} if len(rest) == 1 else {**beside, "anyOf": rest}), True


def _values(old: Schema, new: Schema, place: str) -> Iterator[Change]:
    """What has become of the values that are allowed one by one."""
    before, after = _enumerated(old), _enumerated(new)
    if before is None and after is None:
        return
    if before is None or after is None:
        kind, text = (ChangeKind.NARROWED, "only") if before is None else (ChangeKind.WIDENED, "no longer only")
        yield Change(place, kind, f"may {text} be {_shown(after or before)}")
        return
    if gone := [value for value in before if value not in after]:
        yield Change(place, ChangeKind.NARROWED, f"may not be {_shown(gone)} any more")
    if added := [value for value in after if value not in before]:
        yield Change(place, ChangeKind.WIDENED, f"may be {_shown(added)} now")


def _enumerated(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _limit(name: str, old: Any, new: Any, is_less: Callable[[Any, Any], bool], place: str) -> Iterator[Change]:
    if old != new:
        narrowed = new is not None and (old is None or is_less(new, old))
        text = f"{name} was {_shown(old)}, is {_shown(new)}"
        yield Change(place, ChangeKind.NARROWED if narrowed else ChangeKind.WIDENED, text)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(repr, value))
    return "anything" if value is None else f"{value!r}"
