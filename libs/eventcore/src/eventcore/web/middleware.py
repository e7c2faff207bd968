"""The middleware: each request belongs to a trace, is measured, and gets an answer whatever is raised."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import istr
from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from eventcore import telemetry
from eventcore.telemetry import PassingSpan
from eventcore.telemetry.blotting import BLOT, without_secrets
from eventcore.telemetry.measurements import request_duration

from .correlation import incoming, note, resampled
from .problems import problem_of
from .service import SERVICE

# What asks about the service itself is neither traced nor measured.
UNOBSERVED = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"})

_BAGGAGE_HEADER = istr("baggage")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
_tracer = trace.get_tracer("eventcore")


@web.middleware
async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request as part of its trace, and measure it; answer with a problem what is raised.

    One middleware does it all, because all requests go through each.
    """
    began = time.perf_counter()
    caller = incoming(request.headers)
    trace_id = note(request, caller)
    span: Span | None = None
    if request.path not in UNOBSERVED:
        if caller.is_remote and not request.app[SERVICE].store.settings.trust_trace_flags:
            caller = resampled(caller)
        span = _start_span(request, caller) if telemetry.TRACING else caller
        baggage = _bounded(request) if _BAGGAGE_HEADER in request.headers else ""
        # Never left: each request is a task, which has a context of its own.
        telemetry.enter(span, baggage)
    status = 500
    try:
        if request.protocol.writing_paused:  # no further answer for who does not read those before
            await request.protocol._drain_helper()
        response = await handler(request)
        status = response.status
    except (web.HTTPSuccessful, web.HTTPRedirection) as answer:
        status = answer.status
        raise
    except Exception as error:  # noqa: BLE001 - the one place where the errors of requests end
        response = problem_of(error, request).response(trace_id)
        status = response.status
    finally:
        if span is not None:
            _finish(request, span, status, time.perf_counter() - began)
    return response


def _bounded(request: web.Request) -> str:
    """The request's baggage, as many of its members as the settings allow to go along with events."""
    left = request.app[SERVICE].store.settings.baggage_bytes
    taken: list[str] = []
    for member in ",".join(request.headers.getall(_BAGGAGE_HEADER)).split(","):
        left -= len(member) + 1
        if left < 0:
            break
        taken.append(member)
    return ",".join(taken)


def _start_span(request: web.Request, caller: PassingSpan) -> Span:
    """A SERVER span, as OpenTelemetry's conventions for HTTP have it; with a parent only where the caller is one."""
    parent, said = context.Context(), caller.get_span_context()
    if said.is_remote:
        parent = trace.set_span_in_context(caller, parent)
    token = telemetry.chosen_trace_id.set(said.trace_id)
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
    path, _, query = request.raw_path.partition("?")
    attributes: dict[str, Any] = {
        **_labels(_method(request), request.scheme, _route(request)),
        "url.path": _blotted(path),
        "server.address": host or request.host,
        "network.protocol.version": f"{request.version.major}.{request.version.minor}",
    }
    optional = {
        "http.request.method_original": request.method if _method(request) == "_OTHER" else None,
        "server.port": int(port) if host and port.isdecimal() and len(port) <= 5 else None,
        "url.query": _names(query) or None,
        "client.address": _address(request.remote),
        "user_agent.original": request.headers.get("User-Agent"),
    }
    attributes |= {name: value for name, value in optional.items() if value is not None}
    return {name: _utf_8(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _blotted(path: str) -> str:
    """A path without what looks like a secret or a mail address; strangers may ask for anything."""
    return "/".join(without_secrets(part.replace("%40", "@")) for part in path.split("/"))


def _names(query: str) -> str:
    """What a query asks about, without the values: they may be tokens, or tell who somebody is."""
    parts = (part.partition("=") for part in query.split("&") if part)
    return "&".join(f"{name}={BLOT}" if equals else BLOT for name, equals, _ in parts)


def _address(remote: str | None) -> str | None:
    """An IPv4 address as such, also where it came through a socket of both families."""
    return remote.removeprefix("::ffff:") if remote else None


def _utf_8(text: str) -> str:
    """A text without what stands in headers for bytes that are none."""
    return text.encode("utf-8", "replace").decode()


def _name(request: web.Request) -> str:
    method, route = _method(request), _route(request)
    name = "HTTP" if method == "_OTHER" else method
    return f"{name} {route}" if route else name


def _method(request: web.Request) -> str:
    return request.method if request.method in _METHODS else "_OTHER"


def _route(request: web.Request) -> str | None:
    """The path as it was declared: `/orders/{id}`, not `/orders/17`."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None
