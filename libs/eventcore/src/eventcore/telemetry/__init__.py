"""What happens is measured and traced here, by the OpenTelemetry API alone: without an SDK it all costs nearly nothing.

Only `configure` knows the SDK.
"""

from collections.abc import Callable

from . import measurements
from .instruments import Counts, Durations, Gauges, Instrument, Tally, catalogue
from .logs import handled
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
    "catalogue",
    "chosen_trace_id",
    "context_of",
    "current",
    "current_baggage",
    "end_spans",
    "enter",
    "fail",
    "handled",
    "inject",
    "is_valid",
    "leave",
    "links_to",
    "log_event_duration",
    "measurements",
    "processing",
    "records",
    "samples",
    "sending",
    "surroundings",
    "traceparent_of",
    "tracing",
    "unsampled_too",
]

tracing = False
"""Whether spans are recorded at all: set by `configure`, asked by hot paths before they do any work on spans."""
unsampled_too = False
"""Whether the sampler may want spans of traces that their caller does not record: set by `configure`."""
begins: Callable[[int], bool] | None = None
"""Whether the sampler wants a trace that begins here with this id: set by `configure`."""
_odd = frozenset("13579bdf")


def samples(trace_id: int) -> bool:
    """Whether a trace of this id is recorded where it begins here."""
    return begins is not None and begins(trace_id)


def records(traceparent: str) -> bool:
    """Whether spans under this parent may be recorded: where not, nothing has to be done for them."""
    return tracing and (unsampled_too or traceparent[-1:] in _odd)
