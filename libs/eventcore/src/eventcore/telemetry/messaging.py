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
from .spans import RecordedSpan, chosen_trace_id, context_of, is_valid, start_span

server: dict[str, str | int] = {}
"""`server.address` and `server.port` of Redis, for all spans: set by `configure`."""


def processing_span(  # noqa: PLR0913 - what the conventions ask for, all by name
    traceparent: str,
    tracestate: str | None,
    *,
    root: bool = False,
    failed_before: str | None = None,
    stream: str,
    group: str,
    consumer: str,
    event_type: str,
    event_id: str,
    entry_id: str,
    attempt: int,
) -> RecordedSpan | None:
    """Begin the span of one attempt, until its commit has been answered; `None` where it would not be recorded.

    `traceparent` must be valid, as `envelope.Origin` makes it; `root` says that it was made up, because the event
    carries none: then a trace with this id begins here. `failed_before` is the `traceparent` of the attempt after which
    the event was dead-lettered, if it was and has been redriven: a link, for it did not cause this attempt.
    """
    about = _processing(stream, group, consumer, event_type, attempt)
    links = [context_of(failed_before)] if failed_before and is_valid(failed_before) else ()
    if not root:
        return _below(about, traceparent, tracestate, message_id=event_id, entry_id=entry_id, links=links)
    token = chosen_trace_id.set(context_of(traceparent).trace_id)
    try:
        return start_span(about.name, about.kind, everything(about, event_id, entry_id), parent=None, links=links)
    finally:
        chosen_trace_id.reset(token)


def sending_span(
    traceparent: str,
    tracestate: str | None,
    *,
    stream: str,
    event_type: str,
    event_id: str,
    batched: bool = False,
) -> RecordedSpan | None:
    """Begin the span of sending one event, whose `traceparent` the event shall carry; `None` where none is recorded.

    An event that is sent with others, in one `batch_span`, is only created here.
    """
    about = _sending("create" if batched else "send", stream, event_type)
    return _below(about, traceparent, tracestate, message_id=event_id, remote=False)


def batch_span(
    traceparent: str, tracestate: str | None, *, streams: Sequence[str], events: Sequence[RecordedSpan]
) -> RecordedSpan | None:
    """Begin the span of sending events at once that have spans of their own, to which it is linked."""
    about = _batching(streams[0] if len(streams) == 1 else "")
    links = [context_of(each.traceparent, tracestate, remote=False) for each in events]
    span = _below(about, traceparent, tracestate, remote=False, links=links)
    if span is not None:
        span.note("messaging.batch.message_count", len(events))
    return span


@lru_cache(maxsize=1000)
def _processing(stream: str, group: str, consumer: str, event_type: str, attempt: int) -> Template:
    facts: dict[str, str | int] = {
        "messaging.consumer.group.name": group,
        "messaging.client.id": consumer,
        "eventcore.event.type": event_type,
        "eventcore.attempt": attempt,
    }
    return _template("process", stream, SpanKind.CONSUMER, facts)


@lru_cache(maxsize=1000)
def _sending(operation: str, stream: str, event_type: str) -> Template:
    return _template(operation, stream, SpanKind.PRODUCER, {"eventcore.event.type": event_type})


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


def _below(
    about: Template,
    traceparent: str,
    tracestate: str | None,
    *,
    message_id: str = "",
    entry_id: str = "",
    remote: bool = True,
    links: Sequence[SpanContext] = (),
) -> RecordedSpan | None:
    """Begin a span below a parent, of the quick sort where possible."""
    if quick.sink is None:
        parent, attributes = context_of(traceparent, tracestate, remote=remote), everything(about, message_id, entry_id)
        return start_span(about.name, about.kind, attributes, parent=parent, links=links)
    span = QuickSpan(about, traceparent, tracestate, remote=remote, message_id=message_id, entry_id=entry_id)
    if links:
        span.links = links
    return RecordedSpan(span)
