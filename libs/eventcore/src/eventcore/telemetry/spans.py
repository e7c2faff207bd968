"""Spans around the handling of events, and trace context as the wire has it, by OpenTelemetry's API alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

_tracer = trace.get_tracer("eventcore")

chosen_trace_id: ContextVar[int | None] = ContextVar("chosen_trace_id", default=None)
"""The trace id that the next root span shall get, where somebody outside has chosen one (`X-Correlation-ID`)."""


class ProcessingSpan:
    """The span of one attempt at a delivery, from the handler's start until its commit has been answered.

    Run the handler's own code within `current()`, so that what it does becomes part of the trace. `traceparent` is what
    the events that it publishes shall carry. `end` says how the attempt ended; nothing may follow it.
    """

    __slots__ = ("_context", "_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._context = trace.set_span_in_context(span)
        self.traceparent = traceparent_of(span.get_span_context())

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this span the current one, without ending it afterwards."""
        token = context.attach(self._context)
        try:
            yield
        finally:
            context.detach(token)

    def end(self, outcome: str, error: BaseException | None = None) -> None:
        """End the span: `handled`, `ignored`, `duplicate`, `failed` or `dead_lettered`, and because of what."""
        self._span.set_attribute("eventcore.outcome", outcome)
        if error is not None:
            self._span.record_exception(error)
            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.set_status(StatusCode.ERROR, str(error))
        self._span.end()


def processing_span(  # noqa: PLR0913 - what the conventions ask for, all by name
    traceparent: str,
    tracestate: str | None,
    *,
    stream: str,
    group: str,
    consumer: str,
    event_type: str,
    event_id: str,
    entry_id: str,
    attempt: int,
) -> ProcessingSpan | None:
    """Begin the CONSUMER span of one attempt, in the event's own trace; `None` where it would not be recorded.

    Names and attributes are those of OpenTelemetry's conventions for messaging. `traceparent` must be valid, as
    `envelope.Origin` makes it. Call this only while `telemetry.tracing`.
    """
    parent = NonRecordingSpan(remote_context(traceparent, tracestate))
    attributes: dict[str, Any] = {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": stream,
        "messaging.consumer.group.name": group,
        "messaging.client.id": consumer,
        "messaging.message.id": event_id,
        "eventcore.event.type": event_type,
        "eventcore.entry.id": entry_id,
        "eventcore.attempt": attempt,
    }
    span = _tracer.start_span(
        f"process {stream}", trace.set_span_in_context(parent, context.Context()), SpanKind.CONSUMER, attributes
    )
    return ProcessingSpan(span) if span.is_recording() else None


def remote_context(traceparent: str, tracestate: str | None) -> SpanContext:
    """The span context in a valid `traceparent` of version 00."""
    _, trace_id, span_id, flags = traceparent.split("-")
    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)), state)


def traceparent_of(span: SpanContext) -> str:
    """The `traceparent` of a span context."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
