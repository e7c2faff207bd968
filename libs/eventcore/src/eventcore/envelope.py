"""The envelope: an event's data and metadata as the one JSON object that stands in a stream entry.

The format is the contract with programs in other languages:
`{"type": …, "data": {…}, "metadata": {"eventId": …, "timestamp": …, "version": …, …}}`.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

from pydantic_core import to_json

from .errors import Undecodable
from .event import Data, Event, Version
from .plain_json import DoubledName, parse

EventClass = type[Event]

# In bytes. A thousand lines of an order fit; an entry that doesn't would hold up all that are read along with it.
largest_event = 512 * 1024

_trace_id = re.compile(r"(?!0{32})[0-9a-f]{32}")
_traceparent = re.compile(r"00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-[0-9a-f]{2}")
_longest_id = 200


@dataclass(slots=True)
class Metadata:
    """What is known of an event beside its data. Only `event_id` and `timestamp` are sure to be there when read."""

    event_id: str
    timestamp: datetime
    version: str = "1.0"
    correlation_id: str | None = None
    causation_id: str | None = None
    source: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None

    @classmethod
    def read(cls, content: Data) -> Self:
        """Make it from what stands in the envelope. Raises `Undecodable`, naming the field.

        By hand, because what is tolerated here (times without a zone) and the words of complaint are our own.
        """
        event_id = content.get("eventId")
        if not (isinstance(event_id, str) and 1 <= len(event_id) <= _longest_id):
            raise Undecodable(f"metadata.eventId: {_wrong(event_id)}, not a string of 1 to {_longest_id} characters")
        get = content.get
        version, correlation_id, causation_id = get("version"), get("correlationId"), get("causationId")
        source, traceparent, tracestate, baggage = get("source"), get("traceparent"), get("tracestate"), get("baggage")
        for value in (version, correlation_id, causation_id, source, traceparent, tracestate, baggage):
            if value is not None and value.__class__ is not str:
                name = next(name for name in _optional if content.get(name) is value)
                raise Undecodable(f"metadata.{name}: {_wrong(value)}, not a string")
        time = _read_timestamp(get("timestamp"))
        return cls(
            event_id, time, version or "1.0", correlation_id, causation_id, source, traceparent, tracestate, baggage
        )


_optional = ("version", "correlationId", "causationId", "source", "traceparent", "tracestate", "baggage")


def _wrong(value: object) -> str:
    return "missing" if value is None else repr(value)[:100]


def _read_timestamp(value: object) -> datetime:
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        raise ValueError(_wrong(value))
    except ValueError as error:
        raise Undecodable(f"metadata.timestamp: {error}, not an ISO 8601 time") from error


@dataclass(slots=True)
class Origin:
    """Where an event comes from: what its metadata inherits from the request or event that caused it.

    `correlation_id` is the 32-hex trace id; `traceparent` and `tracestate` are W3C trace context, `baggage` W3C baggage
    (what somebody upstream wants everybody downstream to know); `causation_id` is the id of the event being handled,
    if any.
    """

    source: str
    correlation_id: str
    traceparent: str
    tracestate: str | None = None
    causation_id: str | None = None
    baggage: str | None = None

    @classmethod
    def new(cls, source: str, trace_id: str | None = None) -> Origin:
        """Start a story: a fresh (or the given) trace id, not sampled."""
        trace_id = trace_id or f"{random.getrandbits(128) | 1:032x}"
        return cls(source, trace_id, f"00-{trace_id}-{random.getrandbits(64) | 1:016x}-00")

    @classmethod
    def caused_by(cls, metadata: Metadata, source: str) -> Origin:
        """Continue the story of the event with this metadata.

        An event that carries no trace gets one made from its id, so that every attempt tells the same story.
        """
        match = _traceparent.fullmatch(metadata.traceparent or "")
        if match and metadata.traceparent:
            trace_id, traceparent = match[1], metadata.traceparent
        else:
            trace_id, span_id = trace_ids_for(metadata)
            traceparent = f"00-{trace_id}-{span_id}-00"
        correlation_id = metadata.correlation_id or trace_id
        tracestate = metadata.tracestate if match else None
        return cls(source, correlation_id, traceparent, tracestate, metadata.event_id, metadata.baggage)


def trace_ids_for(metadata: Metadata) -> tuple[str, str]:
    """A trace id (the correlation id, where it is one) and span id for an event without trace context."""
    digest = hashlib.sha256(metadata.event_id.encode("utf-8", "surrogatepass")).hexdigest()
    correlation_id = metadata.correlation_id or ""
    return correlation_id if _trace_id.fullmatch(correlation_id) else digest[:32], digest[32:48]


def new_id() -> str:
    """A UUID version 7 (RFC 9562): unique everywhere, and sorted by time, to a quarter of a microsecond."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000  # RFC 9562, section 6.2, method 3: more of the clock in place of random bits
    value = (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random.getrandbits(62)
    text = value.to_bytes(16, "big").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timestamp(at: datetime | None = None) -> str:
    """A time (now, by default) as the contract writes it: UTC, milliseconds, `Z`."""
    if at is None:
        return _to_the_millisecond(time.time_ns() // 1_000_000)
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=2)
def _to_the_millisecond(milliseconds: int) -> str:
    """Under load, most events are written in the same millisecond as the one before."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_to_the_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def encode(event: Event, origin: Origin, event_id: str | None = None) -> bytes:
    """Write the envelope of a new event; optional data that is not there is left out.

    Raises `ValueError` for an event that is larger than anybody would read.
    """
    metadata = {
        "eventId": event_id or new_id(),
        "timestamp": timestamp(),
        "version": event.version_text,
        "correlationId": origin.correlation_id,
        "causationId": origin.causation_id,
        "source": origin.source,
        "traceparent": origin.traceparent,
    }
    if origin.tracestate:
        metadata["tracestate"] = origin.tracestate
    if origin.baggage:
        metadata["baggage"] = origin.baggage
    written = write(event.type, event.to_json(), metadata)
    if len(written) > largest_event:
        raise ValueError(f"{event.type}: {len(written)} bytes, where {largest_event} are the most")
    return written


def write(event_type: str, data: bytes, metadata: Data) -> bytes:
    """The bytes of an envelope; `data` is JSON already."""
    return b'{"type":"%b","data":%b,"metadata":%b}' % (event_type.encode(), data, to_json(metadata))


@dataclass(slots=True)
class Envelope:
    """An entry's content, taken apart but not yet made into an event."""

    type: str
    data: Data
    metadata: Metadata
    version: Version

    def open(self, event: EventClass) -> Event:
        """The event inside, as the given class. Raises `Undecodable` or `UnsupportedVersion`."""
        return event.read(self.data, self.version)


def decode(fields: Mapping[bytes, bytes]) -> Envelope:
    """Take apart what a stream entry holds. Raises `Undecodable`, naming the field that is missing or wrong."""
    raw = fields.get(b"event")
    if raw is None:
        raise Undecodable("event: the entry has no such field")
    if len(raw) > largest_event:
        raise Undecodable(f"event: {len(raw)} bytes, where {largest_event} are the most")
    try:
        content = parse(raw)
    except DoubledName as error:
        raise Undecodable(str(error)) from error
    except ValueError as error:
        raise Undecodable(f"event: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise Undecodable("event: not a JSON object")
    event_type, data, about = content.get("type"), content.get("data"), content.get("metadata")
    if not (isinstance(event_type, str) and isinstance(data, dict) and isinstance(about, dict)):
        raise Undecodable(_misshapen(content))
    metadata = Metadata.read(about)
    return Envelope(event_type, data, metadata, read_version(metadata.version))


def _misshapen(content: Data) -> str:
    """Which member of the envelope is missing or of the wrong kind."""
    for name, kind, wanted in (("type", str, "a string"), ("data", dict, "an object"), ("metadata", dict, "an object")):
        if name not in content:
            return f"{name}: missing"
        if not isinstance(content[name], kind):
            return f"{name}: not {wanted}"
    return "event: misshapen"


@lru_cache(maxsize=256)
def read_version(text: str) -> Version:
    """A version as it stands in metadata. Raises `Undecodable`."""
    try:
        return Version.parse(text)
    except ValueError as error:
        raise Undecodable(f"metadata.version: {error}") from error
