"""Sending events to their streams: measured, and traced where their trace is recorded."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable, Sequence
from itertools import repeat

from msgspec.structs import replace

from . import telemetry
from .envelope import Origin, encode, new_id
from .errors import EventcoreError
from .event import Event
from .pipe import Command, Pipe, Reply
from .telemetry.measurements import publish_duration


def send(
    pipe: Pipe, events: Sequence[Event], origin: Origin, *, prefix: str, event_id: str | None = None
) -> Coroutine[None, None, list[Reply]]:
    """Append events to their streams, in one write; the replies. Raises as `Pipe.pipeline` does."""
    if telemetry.records(origin.traceparent):
        return _send_traced(pipe, events, origin, prefix, event_id)
    return _append(pipe, [(event.stream, encode(event, origin, event_id)) for event in events], prefix)


async def _append(pipe: Pipe, entries: Sequence[tuple[str, bytes]], prefix: str) -> list[Reply]:
    """Append envelopes to streams. All that go in one write take equally long."""
    began = time.perf_counter()
    streams = [stream for stream, _ in entries]
    commands: list[Command] = [("XADD", prefix + stream, "*", "event", envelope) for stream, envelope in entries]
    try:
        replies = await pipe.pipeline(commands)
    except EventcoreError as error:
        measure(streams, repeat(error), time.perf_counter() - began)
        raise
    measure(streams, replies, time.perf_counter() - began)
    return replies


async def _send_traced(
    pipe: Pipe, events: Sequence[Event], origin: Origin, prefix: str, event_id: str | None
) -> list[Reply]:
    """The same, with a span for an event sent alone; with one for the creation of each of many, and one for all."""
    alone = len(events) == 1
    entries: list[tuple[str, bytes]] = []
    spans: list[telemetry.RecordedSpan] = []
    for event in events:
        chosen = event_id or new_id()
        carried, span = traced(event, origin, chosen, batched=not alone)
        entries.append((event.stream, encode(event, carried, chosen)))
        if span is not None:
            spans.append(span)
    if spans and not alone:
        streams = sorted({event.stream for event in events})
        batch = telemetry.batch_span(origin.traceparent, origin.tracestate, streams=streams, events=spans)
        end_spans(spans)
        spans = [] if batch is None else [batch]
    try:
        replies = await _append(pipe, entries, prefix)
    except EventcoreError as error:
        end_spans(spans, error)
        raise
    end_spans(spans, next((reply for reply in replies if isinstance(reply, Exception)), None))
    return replies


end_spans = telemetry.end_spans


def traced(
    event: Event, origin: Origin, event_id: str, *, batched: bool = False
) -> tuple[Origin, telemetry.RecordedSpan | None]:
    """The origin that an event shall carry, so that what is done about it belongs to the span that sends it."""
    about = telemetry.sending(event.stream, event.type, batched)
    span = telemetry.begin(about, origin.traceparent, origin.tracestate, event_id)
    return (origin, None) if span is None else (replace(origin, traceparent=telemetry.traceparent_of(span)), span)


def measure(streams: Sequence[str], answers: Iterable[object], seconds: float) -> None:
    """Note how long it took until the server had events (or had not), given the stream and the answer of each."""
    counts: dict[tuple[str, str | None], int] = {}
    for stream, answer in zip(streams, answers, strict=False):
        key = (stream, type(answer).__qualname__ if isinstance(answer, Exception) else None)
        counts[key] = counts.get(key, 0) + 1
    for (stream, error), count in counts.items():
        publish_duration.record(seconds, stream, error, count=count)
