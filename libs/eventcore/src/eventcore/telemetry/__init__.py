"""What happens is measured and traced here, by the OpenTelemetry API alone: without an SDK it all costs nearly nothing.

Only `configure` knows the SDK.
"""

from .durations import Durations
from .measurements import dead_lettered, processed, retried, took_over, trimmed_unread
from .spans import ProcessingSpan, chosen_trace_id, processing_span, remote_context, traceparent_of

__all__ = [
    "Durations",
    "ProcessingSpan",
    "chosen_trace_id",
    "dead_lettered",
    "processed",
    "processing_span",
    "remote_context",
    "retried",
    "took_over",
    "traceparent_of",
    "tracing",
    "trimmed_unread",
]

tracing = False
"""Whether spans are recorded at all: set by `configure`, asked by hot paths before they do any work on spans."""
