"""JSON Schemas (2020-12) of events, made from the very types that read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from eventcore.events.envelope import EventClass

from .model_names import Schema, named_once

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: Schema = {"anyOf": [{"type": "string"}, {"type": "null"}]}
METADATA_SCHEMA: Schema = {
    "type": "object",
    "description": "What is known of an event beside its data.",
    "required": ["eventId", "timestamp"],
    "properties": {
        "eventId": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "Unique; stays the same however often the event is delivered.",
        },
        "timestamp": {"type": "string", "format": "date-time", "description": "When it happened, in UTC."},
        "version": {
            "type": "string",
            "pattern": r"^[0-9]+\.[0-9]+$",
            "default": "1.0",
            "description": "Of the data, major.minor: a newer minor only adds optional fields.",
        },
        "correlationId": {**_TEXT, "description": "The trace id of the request that started it all: 32 hex digits."},
        "causationId": {**_TEXT, "description": "The id of the event that this one follows from."},
        "source": {**_TEXT, "description": "The service that published it."},
        "traceparent": {**_TEXT, "description": "W3C trace context."},
        "tracestate": {**_TEXT, "description": "W3C trace context; only where there is one."},
        "baggage": {**_TEXT, "description": "W3C baggage; only where there is one."},
    },
}


def data_schema(event: EventClass) -> Schema:
    """The schema of an event's data, as it stands on file."""
    found = _bare(event.model_json_schema(mode="validation", by_alias=True))
    # A comment, for strict validators (Ajv's default) refuse a schema with a keyword that JSON Schema doesn't have.
    named = {"$schema": DIALECT, "title": f"{event.type} {event.version}", "$comment": f"In {event.stream}.", **found}
    return _in_order(named)


def data_schemas(
    events: Sequence[EventClass], place: str, *, taken: Iterable[str] = ()
) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """References to the schemas of many events' data, by type, and the schemas with all that they refer to, by name.

    `place` is where a reference leads to: `#/components/schemas/{model}`; names that are `taken` are given to none.
    """
    models: list[tuple[EventClass, Literal["validation"]]] = [(event, "validation") for event in events]
    found, rest = models_json_schema(models, by_alias=True, ref_template=place)
    plain = {event.type: found[event, "validation"] for event in events}
    references, schemas = named_once(rest.get("$defs", {}), plain, place, taken=taken)
    return references, {name: _in_order(_bare(schema)) for name, schema in schemas.items()}


def envelope_schema() -> Schema:
    """The schema of what stands in the field `event` of a stream entry, whatever its type."""
    return {
        "$schema": DIALECT,
        "title": "event",
        "description": "An event as it stands in a stream entry, in the field `event`. Unknown fields are ignored.",
        "type": "object",
        "required": ["type", "data", "metadata"],
        "properties": {"type": {"type": "string"}, "data": {"type": "object"}, "metadata": METADATA_SCHEMA},
    }


def event_schema(event: EventClass, data: Schema, metadata: Schema = METADATA_SCHEMA) -> Schema:
    """The schema of a whole event of this type, around schemas of its data and metadata, or references to them."""
    envelope = envelope_schema()
    of_type = {"type": {"const": event.type}, "data": data, "metadata": metadata}
    return {name: envelope[name] for name in ("type", "required")} | {"properties": of_type}


# As one reads them; the rest stands between.
_FIRST, _LAST = ("$schema", "title", "$comment", "description", "type", "required", "properties"), ("$defs",)


def _in_order(schema: Schema) -> Schema:
    between = [name for name in schema if name not in (*_FIRST, *_LAST)]
    return {name: schema[name] for name in (*_FIRST, *between, *_LAST) if name in schema}


def _bare(schema: Any) -> Any:
    """Without what pydantic adds: its titles are names that say nothing, its discriminators are no JSON Schema."""
    match schema:
        case {"properties": dict() as properties, **rest}:
            fields = {name: _bare(each) for name, each in properties.items()}
            return {**_bare(rest), "properties": fields}
        case dict():
            return {name: _bare(each) for name, each in schema.items() if name not in ("title", "discriminator")}
        case list():
            return [_bare(each) for each in schema]
        case _:
            return schema
