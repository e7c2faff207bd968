"""Spans of events, named and described as OpenTelemetry's conventions for messaging have it.

An event is sent in a PRODUCER span, whose context it carries, and processed in CONSUMER spans, one for each attempt,
that are children of it: so one request is one trace, through all services. A batch that is sent at once has a span of
its own, linked to those of its events. Nothing polls into traces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from opentelemetry.trace import SpanContext, SpanKind

from . import quick
from .quick import QuickSpan, Template, everything
from .spans import RecordedSpan, chosen_trace_id, context_of, start_span, traceparent_of

server: dict[str, str | int] = {}
"""`server.address` and `server.port` of Redis, for all spans: set by `configure`."""


def begin(
    about: Template,
    traceparent: str,
    tracestate: str | None,
    message_id: str = "",
    entry_id: str = "",
    links: Sequence[SpanContext] = (),
) -> RecordedSpan | None:
    """Begin a span below the one with this `traceparent`, which must be valid; `None` where it would not be recorded.

    It is `about` the `processing` of an event, until its commit has been answered, or the `sending` of one, which shall
    carry the `traceparent` of the span.
    """
    if quick.sink is None:
        parent = context_of(traceparent, tracestate, remote=about.remote)
        return start_span(about.name, about.kind, everything(about, message_id, entry_id), parent=parent, links=links)
    span = QuickSpan(about, traceparent, message_id, entry_id)
    if tracestate or links:
        span.belongs(tracestate, links)
    return span


def begin_trace(
    about: Template, trace_id: str, message_id: str, entry_id: str, links: Sequence[SpanContext] = ()
) -> RecordedSpan | None:
    """The same for an event that carries no trace: one with this id begins here."""
    token = chosen_trace_id.set(int(trace_id, 16))
    try:
        return start_span(about.name, about.kind, everything(about, message_id, entry_id), parent=None, links=links)
    finally:
        chosen_trace_id.reset(token)


def batch_span(
    traceparent: str, tracestate: str | None, *, streams: Sequence[str], events: Sequence[RecordedSpan]
) -> RecordedSpan | None:
    """Begin the span of sending events at once that have spans of their own, to which it is linked."""
    about = _batching(streams[0] if len(streams) == 1 else "")
    links = [context_of(traceparent_of(each), tracestate, remote=False) for each in events]
    span = begin(about, traceparent, tracestate, links=links)
    if span is not None:
        span.set_attribute("messaging.batch.message_count", len(events))
    return span


@lru_cache(maxsize=1000)
def processing(stream: str, group: str, consumer: str, event_type: str, attempt: int) -> Template:
    """What spans of one attempt at an event have in common."""
    facts: dict[str, str | int] = {
        "messaging.consumer.group.name": group,
        "messaging.client.id": consumer,
        "eventcore.event.type": event_type,
        "eventcore.attempt": attempt,
    }
    return _template("process", stream, SpanKind.CONSUMER, facts)


@lru_cache(maxsize=1000)
def sending(stream: str, event_type: str, batched: bool) -> Template:
    """What spans of sending an event have in common; one that is sent with others, in one `batch_span`, is created."""
    return _template("create" if batched else "send", stream, SpanKind.PRODUCER, {"eventcore.event.type": event_type})


@lru_cache(maxsize=1000)
def _batching(stream: str) -> Template:
    return _template("send", stream, SpanKind.CLIENT)


def _template(operation: str, stream: str, kind: SpanKind, facts: Mapping[str, str | int] = {}) -> Template:
    """What the spans of an operation on a stream have in common; without a stream, on several."""
    about = {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": stream,
        **server,
        **facts,
    }
    known = {name: value for name, value in about.items() if value}
    return Template(f"{operation} {stream}".rstrip(), kind, known)
