"""What happens is measured and traced here, by the OpenTelemetry API alone: without an SDK it all costs nearly nothing.

Only `configure` knows the SDK.
"""

from . import measurements
from .instruments import Counts, Durations, Gauges, Instrument, Tally, catalogue
from .spans import ProcessingSpan, chosen_trace_id, processing_span, remote_context, traceparent_of

__all__ = [
    "Counts",
    "Durations",
    "Gauges",
    "Instrument",
    "ProcessingSpan",
    "Tally",
    "catalogue",
    "chosen_trace_id",
    "measurements",
    "processing_span",
    "remote_context",
    "traceparent_of",
    "tracing",
]

tracing = False
"""Whether spans are recorded at all: set by `configure`, asked by hot paths before they do any work on spans."""
