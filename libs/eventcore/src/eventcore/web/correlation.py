"""Correlation: which trace a request belongs to, for all that happens on its behalf, and for the caller to know."""

from __future__ import annotations

import random
import re
import time
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy, istr
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from eventcore import telemetry
from eventcore.envelope import Origin
from eventcore.telemetry.measurements import request_duration

header: str = istr("X-Correlation-ID")
_traceparent_header, _baggage_header = istr("traceparent"), istr("baggage")
# What asks about the service itself is neither traced nor measured.
unobserved = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"})

_trace_id = web.RequestKey("correlation_id", str)
_traceparent = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_id = re.compile(r"([0-9a-f]{8})(-?)([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{12})", re.ASCII)
_methods = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
_tracer = trace.get_tracer("eventcore")


def current_origin(source: str) -> Origin:
    """Where an event comes from that is published now: the trace that is going on, or a new one."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return Origin.new(source)
    state = span.trace_state.to_header() if span.trace_state else None
    traceparent = telemetry.traceparent_of(span)
    return Origin(source, traceparent[3:35], traceparent, state, baggage=telemetry.current_baggage())


def correlation_id(request: web.BaseRequest) -> str:
    """The trace id of a request, in 32 hexadecimal digits."""
    known = request.get(_trace_id)
    if known is None:
        known = request[_trace_id] = f"{incoming(request.headers).trace_id:032x}"
    return known


def incoming(headers: CIMultiDictProxy[str]) -> SpanContext:
    """The trace that a request belongs to.

    A valid W3C `traceparent` continues its trace. Else an `X-Correlation-ID` that is 32 hexadecimal digits or a UUID
    becomes the trace id, or a new one is made up; `is_remote` is then false, and the span id made up.
    """
    traceparent, chosen = headers.get(_traceparent_header), headers.get(header)
    match = _traceparent.fullmatch(traceparent) if traceparent else None
    # Version 00 has four parts; those to come may have more.
    if match and not (match[1] == "00" and match[5]):
        states = headers.getall("tracestate", [])
        state = TraceState.from_header(states) if states else None
        return SpanContext(int(match[2], 16), int(match[3], 16), True, TraceFlags(int(match[4], 16) & 3), state)
    trace_id = (_chosen(chosen) if chosen else 0) or random.getrandbits(128) | 1
    return SpanContext(trace_id, random.getrandbits(64) | 1, False, TraceFlags(0))


def _chosen(text: str) -> int:
    """The trace id in a correlation id; 0, which is none, if there isn't any."""
    match = _id.fullmatch(text.lower())
    return int("".join(match.group(1, 3, 4, 5, 6)), 16) if match else 0


@web.middleware
async def correlate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request as part of its trace, and measure it."""
    caller = incoming(request.headers)
    request[_trace_id] = f"{caller.trace_id:032x}"
    if request.path in unobserved:
        return await handler(request)
    began = time.perf_counter()
    span = _start_span(request, caller) if telemetry.tracing else NonRecordingSpan(caller)
    baggage = ",".join(request.headers.getall(_baggage_header, ()))
    # Attached for good: each request is a task, which has a context of its own.
    context.attach(trace.set_span_in_context(span, telemetry.with_baggage(baggage)))
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        _finish(request, span, status, time.perf_counter() - began)


def tell(request: web.Request, response: web.StreamResponse) -> None:
    """Let an answer say which trace it belongs to."""
    response.headers[header] = correlation_id(request)


def _start_span(request: web.Request, caller: SpanContext) -> Span:
    """A SERVER span, as OpenTelemetry's conventions for HTTP have it; with a parent only where the caller is one."""
    parent = context.Context()
    if caller.is_remote:
        parent = trace.set_span_in_context(NonRecordingSpan(caller), parent)
    token = telemetry.chosen_trace_id.set(caller.trace_id)
    try:
        return _tracer.start_span(_name(request), parent, SpanKind.SERVER, _attributes(request))
    finally:
        telemetry.chosen_trace_id.reset(token)


def _finish(request: web.Request, span: Span, status: int, seconds: float) -> None:
    error = str(status) if status >= 500 else None
    request_duration.record(seconds, _method(request), request.scheme, _route(request), status, error)
    if span.is_recording():
        span.set_attributes(_outcome(status))
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()


def _labels(method: str, scheme: str, route: str | None) -> dict[str, str | int]:
    labels: dict[str, str | int] = {"http.request.method": method, "url.scheme": scheme}
    return labels | {"http.route": route} if route else labels


def _outcome(status: int) -> dict[str, str | int]:
    outcome: dict[str, str | int] = {"http.response.status_code": status}
    return outcome | {"error.type": str(status)} if status >= 500 else outcome


def _attributes(request: web.Request) -> dict[str, Any]:
    host, _, port = request.host.rpartition(":") if request.host[-1:] != "]" else (request.host, "", "")
    attributes: dict[str, Any] = {
        **_labels(_method(request), request.scheme, _route(request)),
        "url.path": request.raw_path.partition("?")[0],
        "server.address": host or request.host,
        "network.protocol.version": f"{request.version.major}.{request.version.minor}",
    }
    optional = {
        "http.request.method_original": request.method if _method(request) == "_OTHER" else None,
        "server.port": int(port) if host and port.isdecimal() else None,
        "url.query": request.raw_path.partition("?")[2] or None,
        "client.address": request.remote,
        "user_agent.original": request.headers.get("User-Agent"),
    }
    return attributes | {name: value for name, value in optional.items() if value is not None}


def _name(request: web.Request) -> str:
    method, route = _method(request), _route(request)
    name = "HTTP" if method == "_OTHER" else method
    return f"{name} {route}" if route else name


def _method(request: web.Request) -> str:
    return request.method if request.method in _methods else "_OTHER"


def _route(request: web.Request) -> str | None:
    """The path as it was declared: `/orders/{id}`, not `/orders/17`."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None
