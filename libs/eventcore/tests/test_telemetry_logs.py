"""Logs: one line of JSON each, with the ids of the trace; nothing in them is a secret."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from eventcore.telemetry import HANDLED
from eventcore.telemetry.blotting import without_secrets
from eventcore.telemetry.logs import ConsoleFormatter, JsonFormatter

json_lines = JsonFormatter(service="notes", pod="pod-1")


def record(message: str = "it happened", *arguments: object, **facts: Any) -> logging.LogRecord:
    made = logging.getLogger("tests").makeRecord(
        "tests", logging.WARNING, __file__, 1, message, arguments, facts.pop("exc_info", None), extra=facts
    )
    made.created = 1_795_428_000.1234
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = json_lines.format(made)
    assert "\n" not in text
    content: dict[str, Any] = json.loads(text)
    return content


def failure() -> Any:
    try:
        raise ValueError("at redis://user:secret@host/0")
    except ValueError:
        return sys.exc_info()


def test_a_line_says_when_what_where() -> None:
    assert line(record("it happened %d times", 3)) == {
        "timestamp": "2026-11-23T10:00:00.123Z",
        "level": "WARNING",
        "logger": "tests",
        "message": "it happened 3 times",
        "service": "notes",
        "pod": "pod-1",
    }


def test_extras_become_fields_but_replace_none() -> None:
    content = line(record(eventId="e-1", nothing=None, service="another", path=object))
    assert content["eventId"] == "e-1"
    assert content["service"] == "notes"
    assert "nothing" not in content
    assert content["path"] == "<class 'object'>"


def test_what_a_text_names_is_a_field_too_and_no_secret_and_people_read_it_once() -> None:
    error = ValueError("at redis://user:secret@host/0")
    named = record("%(stream)s lost %(count)d: %(error)s", {"stream": "notes", "count": 3, "error": error, "more": 1})
    content = line(named)
    assert content["message"] == "notes lost 3: at redis://user:***@host/0"
    assert (content["stream"], content["count"], content["error"]) == ("notes", 3, "at redis://user:***@host/0")
    assert "more" not in content
    assert ConsoleFormatter().format(named).endswith("tests: notes lost 3: at redis://user:***@host/0")
    assert "password" not in line(record("got %s", {"password": "s3cret"}))


def test_the_current_span_is_named() -> None:
    span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False))
    with trace.use_span(span):
        content = line(record())
    assert (content["traceId"], content["spanId"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")


def test_an_exception_is_one_field_without_its_passwords() -> None:
    content = line(record(exc_info=failure()))
    assert content["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: at redis://user:***@host/0" in content["exception"]


def test_lines_for_people_are_short() -> None:
    text = ConsoleFormatter().format(record("to redis://:secret@host", eventId="e-1"))
    assert text.endswith(" WARNING  tests: to redis://:***@host eventId=e-1")
    assert ConsoleFormatter().format(record(exc_info=failure())).splitlines()[1] == "Traceback (most recent call last):"


def test_passwords_are_blotted_out() -> None:
    said = without_secrets("rediss://u:p%40ss@h:6379/0 and smtp://a:b@c")
    assert said == "rediss://u:***@h:6379/0 and smtp://a:***@c"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("mail to anna.smith@example.com.", "mail to a***@example.com."),
        ("550 <anna@example.com>: unknown", "550 <a***@example.com>: unknown"),
        ("email='ünï@localhost', id=1", "email='ü***@localhost', id=1"),
        ("a@b, c@d", "a***@b, c***@d"),
    ],
)
def test_mail_addresses_are_masked(said: str, shown: str) -> None:
    assert without_secrets(said) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "harmless", ["http://host:80/path@x", "redis://host:6379/0", "redis://u:***@h", "@router.on(Event)", "a @ b", "@"]
)
def test_nothing_else_is_masked(harmless: str) -> None:
    assert without_secrets(harmless) == harmless


def test_extras_and_tracebacks_are_masked_too() -> None:
    try:
        raise ValueError("anna@example.com")
    except ValueError:
        made = record(recipient="bob@example.com", exc_info=sys.exc_info())
    for text in (json_lines.format(made), ConsoleFormatter().format(made)):
        assert "anna@" not in text
        assert "bob@" not in text
        assert "a***@example.com" in text


class Delivery:
    """Something that is being handled."""

    def __init__(self, **ids: str) -> None:
        self.ids = ids


def test_what_is_being_handled_is_named() -> None:
    token = HANDLED.set(Delivery(eventId="e-1", correlationId="c-1", traceId="t-1"))
    try:
        content = line(record())
        assert (content["eventId"], content["correlationId"], content["traceId"]) == ("e-1", "c-1", "t-1")
        assert line(record(eventId="e-2"))["eventId"] == "e-2"
    finally:
        HANDLED.reset(token)


@pytest.mark.parametrize(
    "hostile", ["a\nCRITICAL forged", "a\r\nforged", "\x1b[45;7m", "\x9b31m", "\u2028forged", "\u202eforged"]
)
def test_what_a_stranger_wrote_begins_no_line_and_steers_no_terminal(hostile: str) -> None:
    made = record(path=hostile)
    made.msg = f"answered 503 to GET {hostile}"
    written = ConsoleFormatter().format(made)
    assert len(written.splitlines()) == 1
    assert all(character.isprintable() for character in written)


def test_a_traceback_keeps_its_lines_and_nothing_else_of_what_steers_a_terminal() -> None:
    try:
        raise ValueError("\x1b[45;7m")
    except ValueError:
        written = ConsoleFormatter().format(record(exc_info=sys.exc_info()))
    assert "\x1b" not in written
    assert written.splitlines()[-1] == r"ValueError: \x1b[45;7m"
