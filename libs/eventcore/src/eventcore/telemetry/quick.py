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

sink: Callable[[QuickSpan], object] | None = None
"""Where these spans go when they have ended; `None` where the SDK's are to be used. Set by `configure`."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What spans of one sort have in common; their bytes are written once for each template."""

    name: str
    kind: SpanKind
    attributes: Mapping[str, str | int]


class Event(NamedTuple):
    """Something that happened during a span."""

    name: str
    attributes: Mapping[str, AttributeValue]
    time: int


class QuickSpan(Span):
    """A span below a sampled parent. Ids are in hexadecimal digits, as the wire has them."""

    __slots__ = (
        "attributes", "description", "ended", "events", "flags", "id", "links", "name", "parent_id", "parent_is_remote",
        "started", "state", "status", "template", "trace_id",
    )  # fmt: skip

    def __init__(
        self,
        template: Template,
        attributes: dict[str, AttributeValue],
        *,
        traceparent: str,
        tracestate: str | None,
        remote: bool,
        links: Sequence[SpanContext] = (),
    ) -> None:
        self.template, self.name, self.attributes, self.links = template, template.name, attributes, links
        self.trace_id, self.parent_id, self.flags = traceparent[3:35], traceparent[36:52], traceparent[53:55]
        self.state, self.parent_is_remote = tracestate, remote
        self.id = f"{random.getrandbits(64) or 1:016x}"
        self.events: Sequence[Event] = ()
        self.status, self.description = StatusCode.UNSET, ""
        self.started, self.ended = time.time_ns(), 0

    @property
    def traceparent(self) -> str:
        """What others continue."""
        return f"00-{self.trace_id}-{self.id}-{self.flags}"

    def get_span_context(self) -> SpanContext:
        """What children need to know."""
        state = TraceState.from_header([self.state]) if self.state else None
        return SpanContext(int(self.trace_id, 16), int(self.id, 16), False, TraceFlags(int(self.flags, 16)), state)

    def is_recording(self) -> bool:
        """Until it has ended."""
        return not self.ended

    def end(self, end_time: int | None = None) -> None:
        """End it, once."""
        if not self.ended and sink is not None:
            self.ended = end_time or time.time_ns()
            sink(self)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Note something about it."""
        if not self.ended:
            self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Note some things about it."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Note what has happened."""
        if not self.ended:
            self.events = (*self.events, Event(name, dict(attributes or {}), timestamp or time.time_ns()))

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
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went."""
        if isinstance(status, Status):
            self.status, self.description = status.status_code, status.description or ""
        else:
            self.status, self.description = status, description or ""
