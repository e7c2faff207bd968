"""The span of one attempt at a delivery, as OpenTelemetry's conventions for messaging have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from eventcore import telemetry
from eventcore.telemetry import (
    RecordedSpan,
    context_of,
    current,
    end_spans,
    spans,
    traceparent_of,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ATTEMPT = telemetry.processing("notes_stream", "notes-group", "pod-1", "note.put", 2)
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where spans go that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("tests"))
    yield exporter
    provider.shutdown()


def begin(traceparent: str = SAMPLED, tracestate: str | None = None) -> RecordedSpan | None:
    return telemetry.begin(ATTEMPT, traceparent, tracestate, "e-1", "1-0")


def test_it_continues_the_trace_of_the_event(recorded: InMemorySpanExporter) -> None:
    span = begin(tracestate="a=1")
    assert span is not None
    end_spans([span], outcome="handled")
    [ended] = recorded.get_finished_spans()
    assert (ended.name, ended.kind) == ("process notes_stream", SpanKind.CONSUMER)
    assert ended.parent is not None
    assert f"{ended.parent.trace_id:032x}-{ended.parent.span_id:016x}" == f"{TRACE}-{SPAN}"
    assert ended.context is not None
    assert ended.context.trace_state.to_header() == "a=1"
    assert dict(ended.attributes or {}) == {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "notes_stream",
        "messaging.consumer.group.name": "notes-group",
        "messaging.client.id": "pod-1",
        "messaging.message.id": "e-1",
        "eventcore.event.type": "note.put",
        "eventcore.entry.id": "1-0",
        "eventcore.attempt": 2,
        "eventcore.outcome": "handled",
    }
    assert ended.status.status_code is StatusCode.UNSET


def test_what_happens_within_it_is_its_child_and_it_is_not_ended_by_that(recorded: InMemorySpanExporter) -> None:
    span = begin()
    assert span is not None
    with current(span):
        now = trace.get_current_span().get_span_context()
    assert traceparent_of(span) == f"00-{TRACE}-{now.span_id:016x}-01"
    assert not trace.get_current_span().get_span_context().is_valid
    assert recorded.get_finished_spans() == ()


def test_a_failed_attempt_says_why(recorded: InMemorySpanExporter) -> None:
    span = begin()
    assert span is not None
    end_spans([span], ValueError("no"), outcome="failed")
    [ended] = recorded.get_finished_spans()
    attributes: Any = ended.attributes
    assert (ended.status.status_code, ended.status.description) == (StatusCode.ERROR, "no")
    assert (attributes["error.type"], attributes["eventcore.outcome"]) == ("ValueError", "failed")
    assert [event.name for event in ended.events] == ["exception"]


def test_a_trace_that_is_not_sampled_has_no_span(recorded: InMemorySpanExporter) -> None:
    assert begin(UNSAMPLED) is None


def test_without_an_sdk_there_is_no_span() -> None:
    assert begin() is None


def test_an_event_that_carries_no_trace_begins_one_with_the_id_made_for_it(recorded: InMemorySpanExporter) -> None:
    span = telemetry.begin_trace(ATTEMPT, TRACE, "e-1", "1-0")
    assert span is not None
    end_spans([span], outcome="handled")
    [ended] = recorded.get_finished_spans()
    assert ended.parent is None
    assert traceparent_of(span)[-1] in "13", "it is sampled, and perhaps random"


@pytest.mark.parametrize(
    ("tracing", "unsampled_too", "traceparent", "records"),
    [
        (False, True, SAMPLED, False),
        (True, False, SAMPLED, True),
        (True, False, UNSAMPLED, False),
        (True, False, f"00-{TRACE}-{SPAN}-03", True),
        (True, False, f"00-{TRACE}-{SPAN}-02", False),
        (True, True, UNSAMPLED, True),
    ],
)
def test_no_work_is_done_for_what_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch, tracing: bool, unsampled_too: bool, traceparent: str, records: bool
) -> None:
    monkeypatch.setattr(telemetry, "TRACING", tracing)
    monkeypatch.setattr(telemetry, "UNSAMPLED_TOO", unsampled_too)
    assert telemetry.is_recorded(traceparent) is records


def test_baggage_is_given_on_as_it_came_or_as_somebody_has_changed_it() -> None:
    came = "user=a%20b;p=1"
    with current(context_of(SAMPLED), came):
        headers: dict[str, str] = {}
        telemetry.inject(headers)
        assert headers == {"traceparent": SAMPLED, "baggage": came}
        token = context.attach(baggage.set_baggage("tier", "gold"))
        assert telemetry.current_baggage() == "user=a+b%3Bp%3D1,tier=gold"
        context.detach(token)
    assert telemetry.current_baggage() is None
