"""Correlation: the trace that a request belongs to, carried on by its events and named in its answer."""

from __future__ import annotations

import random
import re

from aiohttp import web
from multidict import CIMultiDictProxy, istr
from opentelemetry.trace import TraceState

from eventcore import telemetry
from eventcore.events.envelope import Origin
from eventcore.telemetry import PassingSpan

HEADER: str = istr("X-Correlation-ID")
_TRACEPARENT_HEADER = istr("traceparent")

LONGEST_STATE = 512
_TRACE_ID = web.RequestKey("correlation_id", str)
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_NOT_ZERO = 1 << 64 | 1  # neither the trace id nor the span id
_ID = re.compile(r"([0-9a-f]{8})(-?)([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{12})", re.ASCII)


def current_origin(source: str) -> Origin:
    """The origin for an event published now: the current trace, or a new one."""
    span, baggage = telemetry.surroundings()
    if isinstance(span, PassingSpan):
        traceparent, state = span.traceparent, span.state
    elif (context := span.get_span_context()).is_valid:
        traceparent, state = telemetry.traceparent_of(context), context.trace_state.to_header() or None
    else:
        return Origin.new(source)
    return Origin(source, traceparent[3:35], traceparent, state, baggage=baggage)


def correlation_id(request: web.BaseRequest) -> str:
    """The trace id of a request, in 32 hexadecimal digits."""
    try:
        return request[_TRACE_ID]
    except KeyError:
        return note(request, incoming(request.headers))


def note(request: web.BaseRequest, caller: PassingSpan) -> str:
    """Put a request into its caller's trace; its correlation id."""
    known = request[_TRACE_ID] = caller.traceparent[3:35]
    return known


def incoming(headers: CIMultiDictProxy[str]) -> PassingSpan:
    """The caller of a request: its span, or one that stands for it in the trace that the request belongs to.

    A valid W3C `traceparent` continues its trace. Else an `X-Correlation-ID` that is 32 hexadecimal digits or a UUID
    becomes the trace id, or a new one is made up; `is_remote` is then false, and the span id made up.
    """
    traceparent, chosen = headers.get(_TRACEPARENT_HEADER), headers.get(HEADER)
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    # Version 00 has four parts; those to come may have more.
    if match and not (match[1] == "00" and match[5]):
        states = headers.getall("tracestate", [])
        state = _state(states) if states else None
        return PassingSpan(f"00-{match[2]}-{match[3]}-{int(match[4], 16) & 3:02x}", state, is_remote=True)
    ids = (random.getrandbits(192) | _NOT_ZERO).to_bytes(24).hex()
    trace_id = (_chosen(chosen) if chosen else None) or ids[:32]
    return PassingSpan(f"00-{trace_id}-{ids[32:]}-00")


def resampled(caller: PassingSpan) -> PassingSpan:
    """The same caller, with our own sampler's decision: strangers must not choose what is recorded."""
    is_wanted = telemetry.samples(int(caller.traceparent[3:35], 16))
    flags = int(caller.traceparent[53:], 16) & ~1 | is_wanted
    return PassingSpan(f"{caller.traceparent[:53]}{flags:02x}", caller.state, is_remote=True)


def _state(headers: list[str]) -> str | None:
    """A `tracestate` that goes along with events, cut to what W3C wants to be passed on (Trace Context, 3.3.1.5)."""
    state = TraceState.from_header(headers).to_header()
    while len(state) > LONGEST_STATE:
        state = state.rpartition(",")[0]
    return state or None


def _chosen(text: str) -> str | None:
    """The trace id in a correlation id; `None` for what can be none."""
    match = _ID.fullmatch(text.lower())
    trace_id = "".join(match.group(1, 3, 4, 5, 6)) if match else ""
    return trace_id if trace_id.strip("0") else None


def tell(request: web.Request, response: web.StreamResponse) -> None:
    """Name the trace in the answer's headers."""
    response.headers[HEADER] = correlation_id(request)
