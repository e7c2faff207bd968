"""Sending events to their streams: measured, and traced where their trace is recorded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from eventcore import telemetry
from eventcore.errors import EventcoreError
from eventcore.events.envelope import Origin, encode, new_id
from eventcore.events.event import Event
from eventcore.server.pipe import Command, Pipe
from eventcore.telemetry.measurements import publish_duration


async def send(pipe: Pipe, event: Event, origin: Origin, *, prefix: str, event_id: str | None = None) -> str:
    """Append one event to its stream; its entry id. Raises as `Pipe.execute` does."""
    span: telemetry.RecordedSpan | None = None
    if telemetry.is_recorded(origin.traceparent):
        event_id = event_id or new_id()
        origin, span = traced(event, origin, event_id)
    command: Command = ("XADD", prefix + event.stream, "*", "event", encode(event, origin, event_id))
    began = time.perf_counter()
    try:
        [reply] = await pipe.pipeline([command])
    except EventcoreError as error:
        reply = error
    seconds = time.perf_counter() - began
    failure = reply if isinstance(reply, Exception) else None
    publish_duration.record(seconds, event.stream, None if failure is None else type(failure).__qualname__)
    if span is not None:
        telemetry.end_spans([span], failure)
    if failure is not None:
        raise failure
    entry_id: bytes = reply
    return entry_id.decode()


async def send_all(pipe: Pipe, events: Sequence[Event], origin: Origin, *, prefix: str) -> list[str]:
    """Append events in order, in one write; their entry ids. Raises the first error, after all were sent."""
    if len(events) == 1:
        return [await send(pipe, events[0], origin, prefix=prefix)]
    batch: telemetry.RecordedSpan | None = None
    if telemetry.is_recorded(origin.traceparent):
        envelopes, batch = _created(events, origin)
    else:
        envelopes = [encode(event, origin) for event in events]
    streams = [event.stream for event in events]
    commands: list[Command] = [
        ("XADD", prefix + stream, "*", "event", envelope) for stream, envelope in zip(streams, envelopes, strict=True)
    ]
    began = time.perf_counter()
    try:
        replies = await pipe.pipeline(commands)
    except EventcoreError as error:
        replies = [error] * len(events)
    seconds = time.perf_counter() - began
    failure = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if failure is None:
        measure(streams, seconds)
    else:
        for stream, reply in zip(streams, replies, strict=True):
            measure([stream], seconds, reply if isinstance(reply, Exception) else None)
    if batch is not None:
        telemetry.end_spans([batch], failure)
    if failure is not None:
        raise failure
    return [reply.decode() for reply in replies]


def _created(events: Sequence[Event], origin: Origin) -> tuple[list[bytes], telemetry.RecordedSpan | None]:
    """The envelopes of events, each with a span for its creation; and the span of sending all, linked to those."""
    envelopes: list[bytes] = []
    spans: list[telemetry.RecordedSpan] = []
    for event in events:
        event_id = new_id()
        carried, span = traced(event, origin, event_id, batched=True)
        envelopes.append(encode(event, carried, event_id))
        if span is not None:
            spans.append(span)
    if not spans:
        return envelopes, None
    streams = sorted({event.stream for event in events})
    batch = telemetry.batch_span(origin.traceparent, origin.tracestate, streams=streams, events=spans)
    telemetry.end_spans(spans)
    return envelopes, batch


def traced(
    event: Event, origin: Origin, event_id: str, *, batched: bool = False
) -> tuple[Origin, telemetry.RecordedSpan | None]:
    """The origin that an event carries, so that its handling belongs to the span that sends it."""
    about = telemetry.sending(event.stream, event.type, batched)
    span = telemetry.begin(about, origin.traceparent, origin.tracestate, event_id)
    return (origin, None) if span is None else (replace(origin, traceparent=telemetry.traceparent_of(span)), span)


def measure(streams: Iterable[str], seconds: float, failure: Exception | None = None) -> None:
    """Record how long publishing to each of these streams took, or its error."""
    error = None if failure is None else type(failure).__qualname__
    for stream, count in Counter(streams).items():
        publish_duration.record(seconds, stream, error, count=count)
