"""Trace context as the wire has it, and what all spans of ours have in common, by OpenTelemetry's API alone."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import Any, cast

from opentelemetry import context, propagate, trace
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)

from .logs import without_secrets
from .quick import QuickSpan, outcome_name

_traceparent = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_baggage = W3CBaggagePropagator()
_as_it_came = context.create_key("eventcore-baggage")
_tracer = trace.get_tracer("eventcore")
_nothing = context.Context()

chosen_trace_id: ContextVar[int | None] = ContextVar("chosen_trace_id", default=None)
"""The trace id that the next root span shall get, where somebody outside has chosen one (`X-Correlation-ID`)."""


class RecordedSpan:
    """A span that is recorded until `end` is called; nothing may follow that. One that is forgotten is not exported."""

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span

    @property
    def traceparent(self) -> str:
        """What others continue."""
        span = self.span
        return span.traceparent if isinstance(span, QuickSpan) else traceparent_of(span.get_span_context())

    def note(self, name: str, value: str | int) -> None:
        """Note something about it."""
        self.span.set_attribute(name, value)

    def end(self, outcome: str | None = None, error: BaseException | None = None) -> None:
        """End the span: how, where there are several ways, and because of what, where it is a failure."""
        span = self.span
        if isinstance(span, QuickSpan):
            span.outcome = outcome
        elif outcome is not None:
            span.set_attribute(outcome_name, outcome)
        if error is not None:
            self.fail(error)
        span.end()

    def fail(self, error: BaseException) -> None:
        """Note what went wrong, before the end."""
        said, lines = without_secrets(str(error)), "".join(traceback.format_exception(error))
        self.span.record_exception(error, {"exception.message": said, "exception.stacktrace": without_secrets(lines)})
        self.span.set_attribute("error.type", type(error).__qualname__)
        self.span.set_status(StatusCode.ERROR, said)


class _Current:
    """Within a `with`, a context is the current one. Plain, for it is made for every event."""

    __slots__ = ("_around", "_token")
    _token: Token[context.Context]

    def __init__(self, around: context.Context) -> None:
        self._around = around

    def __enter__(self) -> None:
        self._token = context.attach(self._around)

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)


def current(span: RecordedSpan | SpanContext, baggage: str | None = None) -> AbstractContextManager[None]:
    """Let what happens within, and what is sent to others, be part of a span (recorded here or not), with baggage."""
    around = with_baggage(baggage) if baggage else _nothing
    within = span.span if isinstance(span, RecordedSpan) else NonRecordingSpan(span)
    return _Current(trace.set_span_in_context(within, around))


def with_baggage(baggage: str | None) -> context.Context:
    """A context with the baggage of a W3C header, as far as it is valid, and nothing else."""
    if not baggage:
        return _nothing
    around = _baggage.extract({"baggage": baggage}, _nothing)
    return context.set_value(_as_it_came, (baggage, get_all(around)), around) if get_all(around) else around


def current_baggage() -> str | None:
    """The current baggage as W3C has it in a header; `None` if there is none.

    It is given on as it came, unless somebody has changed it since: the API forgets properties, and how it was quoted.
    """
    now = get_all()
    if not now:
        return None
    came = cast("tuple[str, Mapping[str, object]] | None", context.get_value(_as_it_came))
    if came is not None and came[1] == now:
        return came[0]
    carrier: dict[str, str] = {}
    _baggage.inject(carrier)
    return carrier.get("baggage")


def inject(headers: MutableMapping[str, str]) -> None:
    """Tell whom we ask which trace this belongs to, and the baggage, in W3C's headers."""
    propagate.inject(headers)
    if baggage := current_baggage():
        headers["baggage"] = baggage


def start_span(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, Any],
    *,
    parent: SpanContext | None,
    links: Sequence[SpanContext] = (),
) -> RecordedSpan | None:
    """Begin a span under a parent, or a trace of its own; `None` where the sampler doesn't want it."""
    around = _nothing if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), _nothing)
    span = _tracer.start_span(name, around, kind, attributes, [Link(each) for each in links])
    return RecordedSpan(span) if span.is_recording() else None


def is_valid(traceparent: str) -> bool:
    """Whether this is a `traceparent` of version 00, as `context_of` reads it."""
    return _traceparent.fullmatch(traceparent) is not None


def context_of(traceparent: str, tracestate: str | None = None, *, remote: bool = True) -> SpanContext:
    """The span context in a valid `traceparent` of version 00; `remote` says that another process has begun it."""
    _, trace_id, span_id, flags = traceparent.split("-")
    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(int(flags, 16)), state)


def traceparent_of(span: SpanContext) -> str:
    """The `traceparent` of a span context."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
