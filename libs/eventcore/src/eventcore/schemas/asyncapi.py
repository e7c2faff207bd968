"""AsyncAPI 3 documents: who publishes which events to which streams, and who reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventcore.consume.router import Router
from eventcore.events.envelope import EventClass
from eventcore.server.keys import dead_letter_stream

from . import METADATA_SCHEMA, data_schemas, event_schema

Document = dict[str, Any]

_SCHEMAS = "#/components/schemas/{model}"
_METADATA = "Metadata"


@dataclass(frozen=True, slots=True)
class Participant:
    """A program: what it reads, as which groups, and what it publishes."""

    name: str
    description: str
    reads: Sequence[Router]
    publishes: Sequence[EventClass]

    @property
    def events(self) -> Iterator[EventClass]:
        """All that it has to do with."""
        yield from self.publishes
        for router in self.reads:
            yield from (handler.event for handler in router.handlers.values())


def asyncapi_document(
    title: str,
    participants: Sequence[Participant],
    *,
    description: str,
    version: str = "1.0.0",
    examples: Mapping[str, Sequence[Any]] | None = None,
) -> Document:
    """The document of these programs, as plain data; `examples` are whole events by type."""
    chosen = {event.type: event for participant in participants for event in participant.events}
    events = [chosen[name] for name in sorted(chosen)]
    references, schemas = data_schemas(events, _SCHEMAS, taken=[_METADATA])
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": description},
        "defaultContentType": "application/json",
        "servers": {
            "redis": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": "Redis 7 or Valkey; each channel is a stream. `KEY_PREFIX` stands before its name.",
            }
        },
        "channels": {stream: _channel(stream, events) for stream in sorted({event.stream for event in events})},
        "operations": dict(operation for participant in participants for operation in _operations(participant)),
        "components": {
            "messages": {
                event.type: _message(event, references[event.type], (examples or {}).get(event.type, ()))
                for event in events
            },
            "schemas": {_METADATA: METADATA_SCHEMA, **schemas},
        },
    }


def _channel(stream: str, events: Iterable[EventClass]) -> Document:
    return {
        "address": stream,
        "description": "Each entry has one field, `event`, which holds a message as JSON. "
        f"What a group can't handle goes to `{dead_letter_stream(stream)}`.",
        "messages": {
            event.type: {"$ref": f"#/components/messages/{event.type}"} for event in events if event.stream == stream
        },
    }


def _message(event: EventClass, data: Document, examples: Iterable[Any]) -> Document:
    """Of the current version; that older ones are lifted to it on reading is nothing that a document can say."""
    about: Document = {"name": event.type, "title": f"{event.type} {event.version}", "contentType": "application/json"}
    if event.__doc__:
        about["summary"] = event.__doc__.strip()
    about["payload"] = event_schema(event, data, {"$ref": _SCHEMAS.format(model=_METADATA)})
    if shown := [{"name": f"example-{number}", "payload": each} for number, each in enumerate(examples, start=1)]:
        about["examples"] = shown
    return about


def _operations(participant: Participant) -> Iterator[tuple[str, Document]]:
    """One for each stream that it publishes to, and for each that one of its groups reads."""
    name = participant.name
    readers = Counter(stream for router in participant.reads for stream in router.streams)
    for stream in dict.fromkeys(event.stream for event in participant.publishes):
        events = [event for event in participant.publishes if event.stream == stream]
        yield f"{name}.publish.{stream}", _operation("send", name, stream, events)
    for router in participant.reads:
        handled = [handler.event for handler in router.handlers.values()]
        for stream in router.streams:
            events = [event for event in handled if event.stream == stream]
            group = {"description": f"As consumer group `{router.group}`.", "x-consumer-group": router.group}
            of_group = f".{router.group}" if readers[stream] > 1 else ""
            yield f"{name}.read.{stream}{of_group}", _operation("receive", name, stream, events) | group


def _operation(action: str, name: str, stream: str, events: Iterable[EventClass]) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{stream}"},
        "tags": [{"name": name}],
        "messages": [{"$ref": f"#/channels/{stream}/messages/{event.type}"} for event in events],
    }
