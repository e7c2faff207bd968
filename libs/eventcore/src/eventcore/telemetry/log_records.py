"""Logs as OpenTelemetry's records: what the lines on standard error say, for those who collect by OTLP."""

from __future__ import annotations

import logging
import time

from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context

from .blotting import without_secrets
from .logs import fields, ids
from .trouble import kind_of, text_of, traceback_of

_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class LogRecords(logging.Handler):
    """Hands logs to OpenTelemetry, but for its own: what an exporter says of its trouble would have to be exported."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger
        self.addFilter(lambda record: not record.name.startswith("opentelemetry."))

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one record."""
        known = ids()
        facts: dict[str, str] = {name: str(value) for name, value in {**known, **fields(record)}.items()}
        for name in ("traceId", "spanId"):
            facts.pop(name, None)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            facts["exception.type"] = kind_of(error)
            facts["exception.message"] = text_of(error)
            facts["exception.stacktrace"] = traceback_of(error)
        level = max((each for each in _SEVERITIES if each <= record.levelno), default=logging.DEBUG)
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time.time_ns(),
                context=_context(known),
                severity_text=record.levelname,
                severity_number=_SEVERITIES[level],
                body=without_secrets(record.getMessage()),
                attributes={"eventcore.logger": record.name, **facts},
            )
        )


def _context(known: dict[str, str]) -> Context | None:
    """The trace that this belongs to, where no span of it is recorded here; `None` where one is, or none is known."""
    if get_current_span().get_span_context().is_valid or not {"traceId", "spanId"} <= known.keys():
        return None
    span = SpanContext(int(known["traceId"], 16), int(known["spanId"], 16), True, TraceFlags(0))
    return set_span_in_context(NonRecordingSpan(span), Context())
