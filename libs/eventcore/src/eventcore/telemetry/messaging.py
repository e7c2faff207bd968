"""Spans of events, named and described as OpenTelemetry's conventions for messaging have it.

An event is sent in a PRODUCER span, whose context it carries, and processed in CONSUMER spans, one for each attempt,
that are children of it: so one request is one trace, through all services. A batch that is sent at once has a span of
its own, linked to those of its events. Nothing polls into traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import SpanKind

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
    attributes: dict[str, Any] = {
        **_about("process", stream),
        "messaging.consumer.group.name": group,
        "messaging.client.id": consumer,
        "messaging.message.id": event_id,
        "eventcore.event.type": event_type,
        "eventcore.entry.id": entry_id,
        "eventcore.attempt": attempt,
    }
    links = [context_of(failed_before)] if failed_before and is_valid(failed_before) else []
    caller = context_of(traceparent, tracestate)
    token = chosen_trace_id.set(caller.trace_id)
    try:
        return start_span(
            f"process {stream}", SpanKind.CONSUMER, attributes, parent=None if root else caller, links=links
        )
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
    attributes = {
        **_about("create" if batched else "send", stream),
        "messaging.message.id": event_id,
        "eventcore.event.type": event_type,
    }
    name = f"{'create' if batched else 'send'} {stream}"
    return start_span(name, SpanKind.PRODUCER, attributes, parent=context_of(traceparent, tracestate, remote=False))


def batch_span(
    traceparent: str, tracestate: str | None, *, streams: Sequence[str], events: Sequence[RecordedSpan]
) -> RecordedSpan | None:
    """Begin the span of sending events at once that have spans of their own, to which it is linked."""
    [stream] = streams if len(streams) == 1 else [""]
    attributes = {**_about("send", stream), "messaging.batch.message_count": len(events)}
    return start_span(
        f"send {stream}".rstrip(),
        SpanKind.CLIENT,
        attributes,
        parent=context_of(traceparent, tracestate, remote=False),
        links=[context_of(each.traceparent, tracestate, remote=False) for each in events],
    )


def _about(operation: str, stream: str) -> dict[str, str | int]:
    about: dict[str, str | int] = {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        **server,
    }
    return about | {"messaging.destination.name": stream} if stream else about
