"""Logs: one JSON line each for machines, or a plain line for people, with ids of trace and event, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from opentelemetry import trace

from .blotting import without_secrets
from .trouble import traceback_of

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# ASCII's and Latin-1's (but for the tab), and Unicode's line and paragraph separators and directional overrides.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Where a text names a field: `%(stream)s`, `%(seconds).1f`.
_NAMED = re.compile(r"%\((\w+)\)")


class Handled(Protocol):
    """Something that is being handled, and what it is called in logs: trace, event, correlation id."""

    @property
    def ids(self) -> Mapping[str, str]:
        """The ids by the names of their fields."""


HANDLED: ContextVar[Handled | None] = ContextVar("handled", default=None)
"""The delivery that is being handled, for whatever is logged meanwhile: cheaper to set than a span is to begin."""


def configure_logging(
    *, service: str, pod: str, level: str = "INFO", style: Literal["json", "console"] = "json"
) -> None:
    """Send all logs of this process to standard error, in one style. Replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service=service, pod=pod) if style == "json" else ConsoleFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It would repeat every malformed `tracestate` that a client sends.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)


class JsonFormatter(logging.Formatter):
    """One line of JSON: timestamp, level, logger, message, service, pod, ids of what is going on, and the extras."""

    def __init__(self, *, service: str, pod: str) -> None:
        super().__init__()
        self._place = {"service": service, "pod": pod}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **self._place,
        }
        for name, value in {**ids(), **fields(record)}.items():
            line.setdefault(name, value)
        if trouble := _trouble(self, record):
            line["exception"] = without_secrets(trouble)
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """A line for people: time of day, level, logger, message, extras; a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        facts = "".join(f" {name}={value}" for name, value in extras(record).items() if "\n" not in str(value))
        line = escaped(f"{time} {record.levelname:<8} {record.name}: {record.getMessage()}{facts}")
        trouble = "\n".join(map(escaped, _trouble(self, record).split("\n")))
        return without_secrets(f"{line}\n{trouble}" if trouble else line)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the text names, as in `%(stream)s`, and what the caller gave as `extra=`."""
    values: Any = record.args
    named = {name: values[name] for name in _NAMED.findall(str(record.msg))} if isinstance(values, Mapping) else {}
    shown = {name: value if isinstance(value, int | float) else str(value) for name, value in named.items()}
    return {name: _masked(value) for name, value in shown.items()} | extras(record)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as `extra=`, as far as it is something."""
    found = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
    return {name: _masked(value) for name, value in found.items()}


def ids() -> dict[str, str]:
    """Which trace, span and event this is about, as far as that is known."""
    going_on = HANDLED.get()
    known = dict(going_on.ids) if going_on is not None else {}
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return known
    trace_id = f"{span.trace_id:032x}"
    return {"correlationId": trace_id, **known, "traceId": trace_id, "spanId": f"{span.span_id:016x}"}


def escaped(text: str) -> str:
    """One line of text: control characters would begin lines of their own, or steer a terminal."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _masked(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trouble(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    parts = [] if error is None else [traceback_of(error).rstrip("\n")]
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)
