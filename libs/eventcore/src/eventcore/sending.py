"""Sending events to their streams: measured, and traced where their trace is recorded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from . import telemetry
from .envelope import Origin, encode, new_id
from .errors import EventcoreError
from .event import Event
from .pipe import Command, Pipe, Reply
from .telemetry.measurements import publish_duration


@dataclass(slots=True)
class Sent:
    """An event on its way to its stream, with its span where its trace is recorded."""

    stream: str
    span: telemetry.RecordedSpan | None = None


async def send(
    pipe: Pipe, events: Sequence[Event], origin: Origin, *, prefix: str, event_id: str | None = None
) -> list[Reply]:
    """Append events to their streams, in one write; the replies. Raises as `Pipe.pipeline` does."""
    began = time.perf_counter()
    sent: list[Sent] = []
    commands: list[Command] = []
    for event in events:
        carried, chosen, span = origin, event_id, None
        if telemetry.records(origin.traceparent):
            chosen = event_id or new_id()
            carried, span = traced(event, origin, chosen, batched=len(events) > 1)
        sent.append(Sent(event.stream, span))
        commands.append(("XADD", prefix + event.stream, "*", "event", encode(event, carried, chosen)))
    batch = _batched(sent, origin) if len(events) > 1 else None
    try:
        replies = await pipe.pipeline(commands)
    except EventcoreError as error:
        measure(((each, error) for each in sent), time.perf_counter() - began)
        if batch is not None:
            batch.end(error=error)
        raise
    errors = [reply if isinstance(reply, Exception) else None for reply in replies]
    measure(zip(sent, errors, strict=True), time.perf_counter() - began)
    if batch is not None:
        batch.end(error=next(filter(None, errors), None))
    return replies


def traced(
    event: Event, origin: Origin, event_id: str, *, batched: bool = False
) -> tuple[Origin, telemetry.RecordedSpan | None]:
    """The origin that an event shall carry, so that what is done about it belongs to the span that sends it."""
    span = telemetry.sending_span(
        origin.traceparent,
        origin.tracestate,
        stream=event.stream,
        event_type=event.type,
        event_id=event_id,
        batched=batched,
    )
    return (origin, None) if span is None else (replace(origin, traceparent=span.traceparent), span)


def _batched(sent: Sequence[Sent], origin: Origin) -> telemetry.RecordedSpan | None:
    """The span of them all; their own end with their creation."""
    spans = [each.span for each in sent if each.span is not None]
    if not spans:
        return None
    batch = telemetry.batch_span(
        origin.traceparent, origin.tracestate, streams=sorted({each.stream for each in sent}), events=spans
    )
    for each in sent:
        if each.span is not None:
            each.span.end()
            each.span = None
    return batch


def measure(answered: Iterable[tuple[Sent, Exception | None]], seconds: float) -> None:
    """Note how long it took until the server had events (or had not): equally long for all that went in one write."""
    streams: Counter[tuple[str, str | None]] = Counter()
    for sent, error in answered:
        streams[sent.stream, None if error is None else type(error).__qualname__] += 1
        if sent.span is not None:
            sent.span.end(error=error)
    for key, count in streams.items():
        publish_duration.record(seconds, *key, count=count)
