"""Trace context as the wire has it, and what all spans of ours have in common, by OpenTelemetry's API alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, cast

from opentelemetry import context, propagate, trace
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)

from . import quick
from .quick import OUTCOME_NAME, QuickSpan
from .trouble import kind_of, text_of, traceback_of

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_baggage = W3CBaggagePropagator()
_AS_IT_CAME = context.create_key("eventcore-baggage")
_tracer = trace.get_tracer("eventcore")
_NOTHING = context.Context()
# Under which a context has its span, found out once: to ask for such a context takes longer than to make it.
[_SPAN_KEY] = trace.set_span_in_context(INVALID_SPAN, _NOTHING)

RecordedSpan = Span
"""A span that is recorded until it ends; nothing may follow that. One that is forgotten is not exported."""
chosen_trace_id: ContextVar[int | None] = ContextVar("chosen_trace_id", default=None)
"""The trace id that the next root span shall get, where somebody outside has chosen one (`X-Correlation-ID`)."""


def end_spans(spans: Iterable[RecordedSpan], error: BaseException | None = None, *, outcome: str | None = None) -> None:
    """End spans alike: how, where there are several ways, and because of what, where that is a failure."""
    now = time.time_ns()
    quick_ones: list[QuickSpan] = []
    for span in spans:
        if error is not None:
            fail(span, error)
        if not isinstance(span, QuickSpan):
            if outcome is not None:
                span.set_attribute(OUTCOME_NAME, outcome)
            span.end(now)
        elif not span.ended:
            span.outcome, span.ended = outcome, now
            quick_ones.append(span)
    if quick_ones and quick.sink is not None:
        quick.sink(quick_ones)


def fail(span: RecordedSpan, error: BaseException) -> None:
    """Note what went wrong, before the end of a span."""
    kind, said = kind_of(error), text_of(error)
    # Not by `record_exception`: the SDK's asks the error itself, which may fail, for what it says.
    facts = {"exception.type": kind, "exception.message": said, "exception.stacktrace": traceback_of(error)}
    span.add_event("exception", facts)
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, said)


class PassingSpan(NonRecordingSpan):
    """A span that is not recorded here, but given on as it came: by a valid `traceparent` of version 00."""

    def __init__(self, traceparent: str, state: str | None = None, *, is_remote: bool = False) -> None:
        self.traceparent, self.state, self.is_remote = traceparent, state or None, is_remote

    def get_span_context(self) -> SpanContext:
        """Made only where somebody asks: most requests end without."""
        return context_of(self.traceparent, self.state, remote=self.is_remote)

    def __repr__(self) -> str:
        return f"PassingSpan({self.traceparent})"


@contextmanager
def current(span: RecordedSpan | SpanContext, baggage: str | None = None) -> Iterator[None]:
    """Let what happens within, and what is sent to others, be part of a span (recorded here or not), with baggage."""
    token = enter(span, baggage)
    try:
        yield
    finally:
        leave(token)


def enter(span: RecordedSpan | SpanContext, baggage: str | None = None) -> Token[context.Context]:
    """The same for hot paths, until `leave` is called with what this returns."""
    around = {_SPAN_KEY: NonRecordingSpan(span) if isinstance(span, SpanContext) else span}
    return context.attach(context.Context({**with_baggage(baggage), **around} if baggage else around))


leave = context.detach


def with_baggage(baggage: str | None) -> context.Context:
    """A context with the baggage of a W3C header, as far as it is valid, and nothing else."""
    if not baggage:
        return _NOTHING
    if not baggage.isascii():  # W3C has it percent-encoded, and the API fails over what is no text at all
        return _NOTHING
    around = _baggage.extract({"baggage": baggage}, _NOTHING)
    return context.set_value(_AS_IT_CAME, (baggage, get_all(around)), around) if get_all(around) else around


def surroundings() -> tuple[Span, str | None]:
    """The current span and the current baggage, by one look at the context."""
    around = context.get_current()
    span = cast("Span", around.get(_SPAN_KEY, INVALID_SPAN))
    return span, current_baggage() if len(around) > 1 else None


def current_baggage() -> str | None:
    """The current baggage as W3C has it in a header; `None` if there is none.

    It is given on as it came, unless somebody has changed it since: the API forgets properties, and how it was quoted.
    """
    now = get_all()
    if not now:
        return None
    came = cast("tuple[str, Mapping[str, object]] | None", context.get_value(_AS_IT_CAME))
    if came is not None and came[1] == now:
        return came[0]
    carrier: dict[str, str] = {}
    _baggage.inject(carrier)
    return carrier.get("baggage")


def inject(headers: MutableMapping[str, str], *, ids_only: bool = False) -> None:
    """Tell whom we ask which trace this belongs to, and the baggage, in W3C's headers.

    `ids_only` is for whom `tracestate` and baggage, which strangers may have written, are none of their business.
    """
    if ids_only:
        about = trace.get_current_span().get_span_context()
        bare = SpanContext(about.trace_id, about.span_id, about.is_remote, about.trace_flags)
        propagate.inject(headers, trace.set_span_in_context(NonRecordingSpan(bare), _NOTHING))
        return
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
    around = _NOTHING if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), _NOTHING)
    span = _tracer.start_span(name, around, kind, attributes, [Link(each) for each in links])
    return span if span.is_recording() else None


def is_valid(traceparent: str) -> bool:
    """Whether this is a `traceparent` of version 00, as `context_of` reads it."""
    return _TRACEPARENT.fullmatch(traceparent) is not None


def context_of(traceparent: str, tracestate: str | None = None, *, remote: bool = True) -> SpanContext:
    """The span context in a valid `traceparent` of version 00; `remote` says that another process has begun it."""
    _, trace_id, span_id, flags = traceparent.split("-")
    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(int(flags, 16)), state)


def links_to(traceparent: bytes) -> list[SpanContext]:
    """A link to the span of a `traceparent` as it stands in an entry; none if that is not valid."""
    text = traceparent.decode("ascii", "replace")
    return [context_of(text)] if is_valid(text) else []


def traceparent_of(span: Span | SpanContext) -> str:
    """The `traceparent` of a span: what others continue."""
    if isinstance(span, SpanContext):
        about = span
    elif isinstance(span, QuickSpan):
        return span.traceparent
    else:
        about = span.get_span_context()
    return f"00-{about.trace_id:032x}-{about.span_id:016x}-{about.trace_flags:02x}"
