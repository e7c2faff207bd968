"""A letter: what a delivery becomes that can't be handled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from eventcore.commit.transaction import Append
from eventcore.events.envelope import timestamp
from eventcore.events.strict_json import parse_to_show
from eventcore.server.keys import dead_letter_stream
from eventcore.telemetry import traceparent_of
from eventcore.telemetry.trouble import kind_of, text_of, traceback_of

from .delivery import UNKNOWN, Delivery, LetterReason

_LONGEST_ERROR = 2_000
# In bytes: nobody reads an event of half of this, and a letter takes several times its size on its way.
LARGEST_KEPT = 1024 * 1024
_LONGEST_FIELDS = 64 * 1024
_LONGEST_TYPE = 200
# A redriven event brings along under this name (of a letter's fact, and of an entry's field) which attempt had failed.
FAILED_ATTEMPT = b"failedAttempt"


def letter(
    delivery: Delivery, error: BaseException, reason: LetterReason, group: str, consumer: str, max_length: int
) -> Append:
    """The write that puts a delivery into its stream's dead letters: the raw event, and everything about the failure.

    Of a redriven delivery that fails again, the letter names the entry as which the event first stood in its stream.
    """
    metadata = delivery.metadata
    source = delivery.stream.removesuffix(f":{group}:retry")
    published_at = delivery.published_at
    facts = {
        "reason": reason.value,
        "errorType": kind_of(error),
        "error": text_of(error, _LONGEST_ERROR),
        "traceback": traceback_of(error),
        "attempts": str(delivery.attempt),
        "firstSeen": timestamp(published_at) if published_at else "",
        "failedAt": timestamp(datetime.now(UTC)),
        "stream": source,
        "entryId": delivery.origin_id,
        "group": group,
        "consumer": consumer,
        "type": _type_of(delivery),
        "eventId": metadata.event_id if metadata else "",
        "correlationId": (metadata.correlation_id or "") if metadata else "",
        "traceparent": (metadata.traceparent or "") if metadata else "",
    }
    if delivery.span is not None:
        facts[FAILED_ATTEMPT.decode()] = traceparent_of(delivery.span)
    safe = tuple((name, value.encode("utf-8", "replace")) for name, value in facts.items())
    return Append(dead_letter_stream(source), (*_raw(delivery), *safe), max_length)


def bare_letter(delivery: Delivery, error: BaseException, group: str, max_length: int) -> Append:
    """The same of a delivery of which nothing more can be said."""
    source = delivery.stream.removesuffix(f":{group}:retry")
    facts = {
        "reason": LetterReason.ATTEMPTS_EXHAUSTED.value,
        "errorType": kind_of(error),
        "error": text_of(error, _LONGEST_ERROR),
        "attempts": str(delivery.attempt),
        "stream": source,
        "entryId": delivery.origin_id,
        "group": group,
    }
    safe = tuple((name, value.encode("utf-8", "replace")) for name, value in facts.items())
    return Append(dead_letter_stream(source), (*_raw(delivery), *safe), max_length)


def _type_of(delivery: Delivery) -> str:
    """As far as it can be read, even where nothing else can."""
    try:
        said = parse_to_show(delivery.fields.get(b"event", b"")[:LARGEST_KEPT]) if delivery.type == UNKNOWN else None
    except ValueError:
        said = None
    read = said.get("type") if isinstance(said, dict) else None
    return read[:_LONGEST_TYPE] if read and isinstance(read, str) else delivery.type


def _raw(delivery: Delivery) -> tuple[tuple[str, bytes], ...]:
    """The event as it stood in the entry, byte for byte; of an entry without one, its fields as JSON.

    Of an event that is much larger than anybody reads, and of such fields, only the beginning, and how many bytes.
    """
    event = delivery.fields.get(b"event")
    if event is not None and len(event) <= LARGEST_KEPT:
        return (("event", event),)
    shown = (("fields", json.dumps(_beginning(delivery.fields), ensure_ascii=False).encode()),)
    size = sum(len(name) + len(value) for name, value in delivery.fields.items())
    return shown if size <= _LONGEST_FIELDS else (*shown, ("bytes", b"%d" % size))


def _beginning(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    left = _LONGEST_FIELDS
    for name, value in fields.items():
        found[name[:left].decode("utf-8", "replace")] = value[:left].decode("utf-8", "replace")
        left -= len(name) + len(value)
        if left <= 0:
            break
    return found
