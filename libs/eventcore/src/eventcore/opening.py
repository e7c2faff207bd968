"""Opening entries: from the bytes of one to the event in it, in one pass where nothing about it is unusual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator

from .envelope import EventClass, Metadata, largest_event, read_version
from .errors import Undecodable
from .event import Event
from .plain_json import has_no_more


class Opened(Protocol):
    """What stood in an entry."""

    type: str
    metadata: Metadata
    data: Event


class Opener:
    """Opens entries with events of the given classes in their current major versions.

    Parsing and validating an envelope together with its data takes less time than doing so one after the other. What
    does not fit at once (another version, an unknown type, less metadata than we write, unknown fields, a name that
    stands twice, anything missing or wrong) is left to `decode`, which knows what to do with it and explains.
    """

    def __init__(self, events: Sequence[EventClass]) -> None:
        self._majors = {event.type: event.version.major for event in events}
        self._validator = SchemaValidator(_schema(events), _names_only) if events else None

    def open(self, fields: Mapping[bytes, bytes]) -> Opened | None:
        """The event in an entry; `None` if that takes a closer look."""
        raw = fields.get(b"event")
        if raw is None or self._validator is None or len(raw) > largest_event:
            return None
        try:
            opened: Opened = self._validator.validate_json(raw, by_alias=True, by_name=False)
            current = read_version(opened.metadata.version).major == self._majors[opened.type]
        except (ValidationError, Undecodable):
            return None
        return opened if current and has_no_more(raw, _members(opened)) else None


@dataclass(slots=True, eq=False)
class _Whole(Metadata):
    """Metadata as we write it, so that we know how many members it had: only the last two may be missing."""

    version: str
    correlation_id: str | None
    causation_id: str | None
    source: str | None
    traceparent: str | None
    tracestate: str = None  # type: ignore[assignment]  # absent, and never null
    baggage: str = None  # type: ignore[assignment]


_always = 3 + 7  # of the envelope, and of its metadata


def _members(opened: Opened) -> int:
    """How many members of different names stood in the entry: those that are known here."""
    metadata = opened.metadata
    return _always + (metadata.tracestate is not None) + (metadata.baggage is not None) + _members_of(opened.data)


def _members_of(value: Any) -> int:
    kind = value.__class__
    if kind is tuple or kind is list:
        return sum([_members_of(each) for each in value])
    if kind is dict:
        return len(value) + sum([_members_of(each) for each in value.values()])
    nested = _nested(kind)
    if nested is None:
        return 0
    found = value.__pydantic_fields_set__
    members = len(found)
    for name in nested:
        if name in found:
            members += _members_of(getattr(value, name))
    return members


@cache
def _nested(kind: type) -> tuple[str, ...] | None:
    """The fields of a model that may hold members of their own; `None` for what is no model."""
    return tuple(_holders(kind)) if issubclass(kind, BaseModel) else None


def _holders(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        is_choice = get_origin(field.annotation) in (Union, UnionType)
        kinds = get_args(field.annotation) if is_choice else (field.annotation,)
        if not all(isinstance(kind, type) and issubclass(kind, _flat) for kind in kinds):
            yield name


_flat = (str, int, float, bool, NoneType)


# Most values are seen only once: to look for them among those seen before would be lost time.
_names_only = CoreConfig(cache_strings="keys")


def _schema(events: Sequence[EventClass]) -> CoreSchema:
    """The envelope of any of these events, told apart by the event type in it."""
    literal: Any = Literal  # of values, which no type checker could follow
    envelopes = [
        make_dataclass(
            event.__name__, [("type", literal[event.type]), ("data", event), ("metadata", _Whole)], slots=True
        )
        for event in events
    ]
    any_of_them: Any = Annotated[reduce(or_, envelopes), Field(discriminator="type")]
    return TypeAdapter(any_of_them if len(events) > 1 else envelopes[0]).core_schema
