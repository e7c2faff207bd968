"""Quick spans look to a collector as the SDK's would: every one is made both ways, encoded, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, Status, StatusCode

from eventcore.telemetry import (
    RecordedSpan,
    batch_span,
    begin,
    configure,
    current,
    end_spans,
    links_to,
    processing,
    quick,
    sending,
    spans,
    traceparent_of,
)
from eventcore.telemetry.otlp import encoded_spans, encoder

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT, FAILED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-a0f067aa0ba902b7-01"
RESOURCE = Resource({"service.name": "tests", "replicas": 3})
ATTEMPT = processing("notes_stream", "notes-group", "pod-1", "note.put", 300)

Spanned = Callable[[], None]


def process(state: str | None = None, *, event_id: str = "0199-ü", links: Sequence[SpanContext] = ()) -> RecordedSpan:
    return begun(begin(ATTEMPT, PARENT, state, event_id, "1-0", links))


def send(stream: str, event_id: str, *, batched: bool = False) -> RecordedSpan:
    return begun(begin(sending(stream, "note.put", batched), PARENT, None, event_id))


def handled() -> None:
    end_spans([process("a=1,b=2")], outcome="handled")


def failed() -> None:
    span = process(links=links_to(FAILED.encode()))
    end_spans([span], ValueError("anna@example.com is wrong"), outcome="failed")


def sent() -> None:
    end_spans([send("notes_stream", "x" * 150)])


def sent_as_a_batch() -> None:
    event = send("s", "e-1", batched=True)
    end_spans([event, begun(batch_span(PARENT, None, streams=["s"], events=[event]))])
    end_spans([begun(batch_span(PARENT, None, streams=["s", "t"], events=[]))], OSError())


def told_more_by_a_handler() -> None:
    span = process()
    with current(span):
        now = trace.get_current_span()
        now.set_attribute("eventcore.attempt", -1)
        now.set_attributes({"float": 1.5, "yes": True, "texts": ["a", "b"], "numbers": (1, 2), "long": "y" * 5000})
        now.add_event("seen", {"by": "me"}, timestamp=17)
        now.update_name("another name")
        now.set_status(Status(StatusCode.ERROR, "so it is"))
    end_spans([span], outcome="handled")


EVERY = [handled, failed, sent, sent_as_a_batch, told_more_by_a_handler]


def begun(span: RecordedSpan | None) -> RecordedSpan:
    assert span is not None
    return span


@pytest.fixture
def by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Spanned], ExportTraceServiceRequest]]:
    """What the SDK and its exporters make of spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("eventcore"))

    def make(spanned: Spanned) -> ExportTraceServiceRequest:
        exporter.clear()
        spanned()
        encoded: ExportTraceServiceRequest = encode_spans(exporter.get_finished_spans())
        return encoded

    yield make
    provider.shutdown()


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spanned], ExportTraceServiceRequest]:
    """What we make of them."""
    ended: list[Any] = []
    encode = encoder(RESOURCE.attributes, encode_spans, as_message=False)

    def make(spanned: Spanned) -> ExportTraceServiceRequest:
        monkeypatch.setattr(quick, "sink", lambda spans: ended.append(encoded_spans(spans)))
        spanned()
        monkeypatch.setattr(quick, "sink", None)
        request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(
            encode(ended).SerializePartialToString()
        )
        return request

    return make


def comparable(request: ExportTraceServiceRequest) -> list[str]:
    """A request without what differs from one time to the next: ids, times, stacks, the order of attributes."""
    [resource] = request.resource_spans
    [scope] = resource.scope_spans
    assert len({span.span_id for span in scope.spans}) == len(scope.spans)
    for span in scope.spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        strip(span)
    return [str(resource.resource), str(scope.scope), *map(str, scope.spans)]


def strip(span: Span) -> None:
    span.span_id = b""
    span.start_time_unix_nano = span.end_time_unix_nano = 0
    for link in span.links:
        link.span_id = b"" if link.span_id != bytes.fromhex(FAILED.split("-")[2]) else link.span_id
    for event in span.events:
        event.time_unix_nano = 0 if event.time_unix_nano != 17 else 17
        kept = [each for each in event.attributes if each.key not in ("exception.escaped", "exception.stacktrace")]
        assert "anna" not in str(event.attributes)
        del event.attributes[:]
        event.attributes.extend(sorted(kept, key=str))
    ordered = sorted({each.key: each for each in span.attributes}.values(), key=lambda each: each.key)
    assert len(ordered) == len(span.attributes), "no attribute twice"
    del span.attributes[:]
    span.attributes.extend(ordered)


@pytest.mark.parametrize("spanned", EVERY)
def test_a_collector_can_not_tell_who_made_a_span(spanned: Spanned, by_the_sdk: Any, quickly: Any) -> None:
    assert comparable(quickly(spanned)) == comparable(by_the_sdk(spanned))


def test_quick_spans_and_others_go_in_one_request(by_the_sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(quick, "sink", lambda spans: ended.append(encoded_spans(spans)))
    handled()
    theirs = by_the_sdk(lambda: None)
    assert not theirs.resource_spans
    for as_message in (True, False):
        encode = encoder(RESOURCE.attributes, lambda spans: ExportTraceServiceRequest(), as_message=as_message)
        assert encode([object(), *ended]).SerializeToString() == encode(ended).SerializeToString()
        assert len(ExportTraceServiceRequest.FromString(encode(ended).SerializeToString()).resource_spans) == 1


def test_only_a_span_that_can_not_be_written_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put: list[tuple[bytes, int]] = []
    processor = SimpleNamespace(batch=3, put=lambda content, count: put.append((content, count)))
    monkeypatch.setattr(quick, "sink", configure._to_all([processor], encoded_spans))
    many = [process() for _ in range(8)]
    many[4].set_attribute("too large for the protocol", 1 << 70)
    end_spans(many, outcome="handled")
    assert [count for _, count in put] == [3, 1, 1, 2], "no more than a batch, which would else have to be taken apart"
    assert caplog.messages == ["a span could not be written and is lost"]
    encode = encoder(RESOURCE.attributes, encode_spans, as_message=True)
    [scope] = encode([content for content, _ in put]).resource_spans[0].scope_spans
    assert [span.span_id.hex() for span in scope.spans] == [
        traceparent_of(each).split("-")[2] for each in many if each is not many[4]
    ]


def test_nothing_is_recorded_after_the_end(quickly: Any) -> None:
    def late() -> None:
        span = process()
        with current(span):
            now = trace.get_current_span()
            assert now.is_recording()
            end_spans([span], outcome="handled")
            assert not now.is_recording()
            now.set_attribute("late", True)
            now.add_event("late")
            now.end()

    assert "late" not in "".join(comparable(quickly(late)))


def test_what_it_causes_is_its_child(quickly: Any) -> None:
    def causing() -> None:
        span = process("a=1")
        with current(span):
            context = trace.get_current_span().get_span_context()
        assert traceparent_of(span) == f"00-{TRACE}-{context.span_id:016x}-01"
        assert (context.trace_flags.sampled, context.trace_state.to_header()) == (True, "a=1")
        end_spans([span])

    quickly(causing)


def test_what_is_no_utf_8_can_be_written(quickly: Any) -> None:
    def odd() -> None:
        span = process("a=\ud800", event_id="half \ud800")
        end_spans([span], ValueError("\ud800"))

    [span] = quickly(odd).resource_spans[0].scope_spans[0].spans
    assert "half ?" in str(span.attributes)
    assert (span.trace_state, span.status.message) == ("a=?", r"\ud800")


def test_a_span_keeps_no_more_than_the_specification_allows() -> None:
    span = quick.QuickSpan(ATTEMPT, PARENT, "e-1", "1-0")
    for number in range(200):
        span.set_attribute(f"number {number}", number)
        span.add_event(f"event {number}", {f"number {each}": each for each in range(200)})
    span.outcome, span.ended = "handled", 1
    message = Span.FromString(payload_of(encoded_spans([span])))
    assert len(message.attributes) == len(message.events) == quick.MOST_ATTRIBUTES
    assert len(message.attributes) + message.dropped_attributes_count == len(ATTEMPT.attributes) + 3 + 200
    assert message.dropped_events_count == 200 - quick.MOST_ATTRIBUTES
    assert {len(event.attributes) for event in message.events} == {quick.MOST_ATTRIBUTES}
    assert (message.attributes[-1].key, message.events[-1].name) == ("number 199", "event 199")


def payload_of(field: bytes) -> bytes:
    """What stands in a field behind its number and its length."""
    behind = next(at for at in range(1, len(field)) if field[at] < 0x80) + 1
    return field[behind:]
