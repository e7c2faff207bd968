"""What happens is measured and traced here, by the OpenTelemetry API alone: without an SDK it all costs nearly nothing.

Only `configure` knows the SDK.
"""

from collections.abc import Callable

from . import measurements
from .instruments import CATALOGUE, Counts, Durations, Gauges, Instrument, Tally
from .logs import HANDLED
from .messaging import batch_span, begin, begin_trace, processing, sending
from .spans import (
    PassingSpan,
    RecordedSpan,
    chosen_trace_id,
    context_of,
    current,
    current_baggage,
    end_spans,
    enter,
    fail,
    inject,
    is_valid,
    leave,
    links_to,
    surroundings,
    traceparent_of,
)
from .timing import log_event_duration

__all__ = [
    "CATALOGUE",
    "HANDLED",
    "TRACING",
    "UNSAMPLED_TOO",
    "Counts",
    "Durations",
    "Gauges",
    "Instrument",
    "PassingSpan",
    "RecordedSpan",
    "Tally",
    "batch_span",
    "begin",
    "begin_trace",
    "chosen_trace_id",
    "context_of",
    "current",
    "current_baggage",
    "end_spans",
    "enter",
    "fail",
    "inject",
    "is_recorded",
    "is_valid",
    "leave",
    "links_to",
    "log_event_duration",
    "measurements",
    "processing",
    "samples",
    "sending",
    "surroundings",
    "traceparent_of",
]

TRACING = False
"""Whether spans are recorded at all: set by `configure`, asked by hot paths before they do any work on spans."""
UNSAMPLED_TOO = False
"""Whether the sampler may want spans of traces that their caller does not record: set by `configure`."""
BEGINS: Callable[[int], bool] | None = None
"""Whether the sampler wants a trace that begins here with this id: set by `configure`."""
_ODD = frozenset("13579bdf")


def samples(trace_id: int) -> bool:
    """Whether a trace of this id is recorded where it begins here."""
    return BEGINS is not None and BEGINS(trace_id)


def is_recorded(traceparent: str) -> bool:
    """Whether spans under this parent may be recorded: where not, nothing has to be done for them."""
    return TRACING and (UNSAMPLED_TOO or traceparent[-1:] in _ODD)
