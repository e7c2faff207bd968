"""Spans for hot paths: one that is recorded costs a tenth of the SDK's, and its bytes a tenth of its exporters'.

They take the place of the SDK's where nothing is left for a sampler to decide: below a parent that is sampled, while
the sampler is one that asks the parent. They go through the same processors, exporters and settings.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes, AttributeValue

sink: Callable[[Sequence[QuickSpan]], object] | None = None
"""Where these spans go when they have ended; `None` where the SDK's are to be used. Set by `configure`."""

MESSAGE_ID_NAME, ENTRY_ID_NAME, OUTCOME_NAME = "messaging.message.id", "eventcore.entry.id", "eventcore.outcome"
_IDS = frozenset((MESSAGE_ID_NAME, ENTRY_ID_NAME))


MOST_ATTRIBUTES = 128
"""Attributes, events and links of a span, and attributes of an event: the specification's limits."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What spans of one sort have in common; their bytes are written once for each template."""

    name: str
    kind: SpanKind
    attributes: Mapping[str, str | int]

    @property
    def remote(self) -> bool:
        """Whether their parents are in other processes: only what is consumed was begun elsewhere."""
        return self.kind is SpanKind.CONSUMER


def everything(template: Template, message_id: str, entry_id: str) -> dict[str, str | int]:
    """All attributes that a span begins with."""
    ids = {MESSAGE_ID_NAME: message_id, ENTRY_ID_NAME: entry_id}
    return {**template.attributes, **{name: value for name, value in ids.items() if value}}


class SpanEvent(NamedTuple):
    """Something that happened during a span."""

    name: str
    attributes: Mapping[str, AttributeValue]
    time: int


class QuickSpan(Span):
    """A span below a sampled parent, whose `traceparent` must be valid; of an event, and an entry, if they have ids."""

    # What spans have only at their end.
    outcome: str | None = None
    ended = 0
    # What few spans have at all; those are `unusual`.
    attributes: Mapping[str, AttributeValue] = {}
    name: str | None = None
    status: Status | None = None
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanContext] = ()
    state: str | None = None
    unusual = False
    dropped_attributes = dropped_events = 0

    def __init__(self, template: Template, parent: str, message_id: str = "", entry_id: str = "") -> None:
        self.template, self.parent, self.message_id, self.entry_id = template, parent, message_id, entry_id
        self.id = (random.getrandbits(64) or 1).to_bytes(8, "big")
        self.started = time.time_ns()

    def belongs(self, state: str | None, links: Sequence[SpanContext]) -> None:
        """Note the `tracestate` of its parent, and what it is linked to."""
        self.state, self.links, self.unusual = state, links[-MOST_ATTRIBUTES:], True

    @property
    def traceparent(self) -> str:
        """What others continue."""
        return f"{self.parent[:36]}{self.id.hex()}{self.parent[52:]}"

    def get_span_context(self) -> SpanContext:
        """What children need to know."""
        state = TraceState.from_header([self.state]) if self.state else None
        trace_id, span_id = int(self.parent[3:35], 16), int.from_bytes(self.id, "big")
        return SpanContext(trace_id, span_id, False, TraceFlags(int(self.parent[53:], 16)), state)

    def is_recording(self) -> bool:
        """Until it has ended."""
        return not self.ended

    def end(self, end_time: int | None = None) -> None:
        """End it, once."""
        if not self.ended and sink is not None:
            self.ended = end_time or time.time_ns()
            sink([self])

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Note something about it."""
        if self.ended or key == OUTCOME_NAME:  # which is only ours to say
            return
        if key in self.template.attributes or key in _IDS:
            self._have_nothing_in_common()
        attributes = {**self.attributes, key: value}
        room = (
            MOST_ATTRIBUTES - len(everything(self.template, self.message_id, self.entry_id)) - 1
        )  # one is for the outcome
        for oldest in list(attributes)[: max(0, len(attributes) - room)]:
            del attributes[oldest]
            self.dropped_attributes += 1
        self.attributes, self.unusual = attributes, True

    def _have_nothing_in_common(self) -> None:
        self.attributes = {**everything(self.template, self.message_id, self.entry_id), **self.attributes}
        self.template, self.message_id, self.entry_id = Template(self.template.name, self.template.kind, {}), "", ""

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Note some things about it."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Note what has happened."""
        if not self.ended:
            said = dict(list((attributes or {}).items())[-MOST_ATTRIBUTES:])
            self.dropped_events += len(self.events) == MOST_ATTRIBUTES
            self.events = (*self.events[1 - MOST_ATTRIBUTES :], SpanEvent(name, said, timestamp or time.time_ns()))
            self.unusual = True

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note what went wrong; the message and the stack are only what the caller wants to be known of them."""
        self.add_event("exception", {"exception.type": type(exception).__qualname__, **(attributes or {})}, timestamp)

    def update_name(self, name: str) -> None:
        """Call it something else."""
        self.name, self.unusual = name, True

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went."""
        self.status = status if isinstance(status, Status) else Status(status, description)
        self.unusual = True
