"""Opening entries: from the bytes of one to the event in it, in one pass where it is as we write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator

from .envelope import EventClass, Metadata, largest_event, read_version, write
from .errors import Undecodable
from .event import Event


class Opened(NamedTuple):
    """What stood in an entry."""

    type: str
    metadata: Metadata
    event: Event


class Opener:
    """Opens entries with events of the given classes that are, byte for byte, what `encode` would write of them.

    Parsing and validating an envelope together with its data takes less time than doing so one after the other, and
    what we would write has no name twice and nothing in it that JSON doesn't have. All else (another version, spaces,
    an unknown field, anything missing or wrong) is left to `decode`, which knows what to do with it and explains.
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
            content = self._validator.validate_json(raw, by_alias=True, by_name=False)
            if write(content.type, content.data.to_json(), content.metadata) != raw:
                return None
            metadata = Metadata.read(content.metadata)
            current = read_version(metadata.version).major == self._majors[content.type]
        except (ValidationError, Undecodable):
            return None
        return Opened(content.type, metadata, content.data) if current else None


# Most values are seen only once: to look for them among those seen before would be lost time.
_names_only = CoreConfig(cache_strings="keys")


def _schema(events: Sequence[EventClass]) -> CoreSchema:
    """The envelope of any of these events, told apart by the event type in it."""
    literal: Any = Literal  # of values, which no type checker could follow
    metadata: Any = dict[str, str | None]
    envelopes = [
        make_dataclass(
            event.__name__, [("type", literal[event.type]), ("data", event), ("metadata", metadata)], slots=True
        )
        for event in events
    ]
    any_of_them: Any = Annotated[reduce(or_, envelopes), Field(discriminator="type")]
    return TypeAdapter(any_of_them if len(events) > 1 else envelopes[0]).core_schema
