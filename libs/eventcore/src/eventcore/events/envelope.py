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
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Self

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, ValidationError, convert
from msgspec.json import Decoder, Encoder

from eventcore.errors import Undecodable
from eventcore.telemetry import is_valid

from .event import Data, Event, Version
from .strict_json import DoubledName, parse

EventClass = type[Event]

# In bytes. A thousand lines of an order fit; an entry that doesn't would hold up all that are read along with it.
LARGEST_EVENT = 512 * 1024

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_LONGEST_ID = 200
_FIRST_YEAR, _LAST_YEAR = 1, 9999


class Metadata(Struct, frozen=True, gc=False):
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
    def read(cls, written: WrittenMetadata) -> Self:
        """Make it from what stands in the envelope; an empty text is as good as none. Raises `Undecodable`."""
        return cls(
            written.event_id,
            _read_timestamp(written.timestamp),
            written.version or "1.0",
            written.correlation_id or None,
            written.causation_id or None,
            written.source or None,
            written.traceparent or None,
            written.tracestate or None,
            written.baggage or None,
        )


_Optional = str | None | UnsetType


class WrittenMetadata(Struct, frozen=True, gc=False, rename="camel"):
    """Metadata as it stands in an envelope, member for member; what is not there is `UNSET`, which is false."""

    event_id: Annotated[str, Meta(min_length=1, max_length=_LONGEST_ID)]
    timestamp: str
    version: _Optional = UNSET
    correlation_id: _Optional = UNSET
    causation_id: _Optional = UNSET
    source: _Optional = UNSET
    traceparent: _Optional = UNSET
    tracestate: _Optional = UNSET
    baggage: _Optional = UNSET


def _wrong(value: object) -> str:
    return "missing" if value is None else repr(value)[:100]


def _wrong_metadata(content: Data) -> str:
    """Which member of the metadata is missing or of the wrong kind."""
    event_id = content.get("eventId")
    if not (isinstance(event_id, str) and 1 <= len(event_id) <= _LONGEST_ID):
        return f"metadata.eventId: {_wrong(event_id)}, not a string of 1 to {_LONGEST_ID} characters"
    for name in WrittenMetadata.__struct_encode_fields__[2:]:
        if not isinstance(value := content.get(name), str | None):
            return f"metadata.{name}: {_wrong(value)}, not a string"
    return f"metadata.timestamp: {_wrong(content.get('timestamp'))}, not an ISO 8601 time"


def _read_timestamp(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise Undecodable(f"metadata.timestamp: {error}, not an ISO 8601 time") from error
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    if not _FIRST_YEAR < time.year < _LAST_YEAR:
        try:
            time.astimezone(UTC)
        except OverflowError as error:
            raise Undecodable(f"metadata.timestamp: {value}, not a time that has a date in UTC") from error
    return time


class Origin(Struct, frozen=True, gc=False):
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
        made = _random_hex(16 + 8)
        trace_id = trace_id or made[:32]
        return cls(source, trace_id, f"00-{trace_id}-{made[32:]}-00")

    @classmethod
    def caused_by(cls, metadata: Metadata, source: str) -> Origin:
        """Continue the story of the event with this metadata.

        An event that carries no trace gets one made from its id, so that every attempt tells the same story.
        """
        traceparent, tracestate = metadata.traceparent, metadata.tracestate
        if not (traceparent and is_valid(traceparent)):
            trace_id, span_id = trace_ids_for(metadata)
            traceparent, tracestate = f"00-{trace_id}-{span_id}-00", None
        correlation_id = metadata.correlation_id or traceparent[3:35]
        return cls(source, correlation_id, traceparent, tracestate, metadata.event_id, metadata.baggage)


def trace_ids_for(metadata: Metadata) -> tuple[str, str]:
    """A trace id (the correlation id, where it is one) and span id for an event without trace context."""
    digest = hashlib.sha256(metadata.event_id.encode("utf-8", "surrogatepass")).hexdigest()
    correlation_id = metadata.correlation_id or ""
    return correlation_id if _TRACE_ID.fullmatch(correlation_id) else digest[:32], digest[32:48]


def _random_hex(size: int) -> str:
    """So many random bytes, not all of them zero."""
    return (random.getrandbits(8 * size) | 1).to_bytes(size, "big").hex()


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
    metadata = WrittenMetadata(
        event_id or new_id(),
        timestamp(),
        event.version_text,
        origin.correlation_id,
        origin.causation_id,
        origin.source,
        origin.traceparent,
        origin.tracestate or UNSET,
        origin.baggage or UNSET,
    )
    written = encode_json(WrittenEnvelope(event.type, Raw(event.to_json()), metadata))
    if len(written) > LARGEST_EVENT:
        raise ValueError(f"{event.type}: {len(written)} bytes, where {LARGEST_EVENT} are the most")
    return written


class WrittenEnvelope(Struct, frozen=True, gc=False):
    """An envelope as its bytes have it: `data` is JSON still."""

    type: str
    data: Raw
    metadata: WrittenMetadata


decode_written = Decoder(WrittenEnvelope).decode
"""Take bytes apart, without a look into `data` and at what stands twice. Raises `ValueError`, or `RecursionError`."""
encode_json = Encoder(enc_hook=str).encode  # of the subclasses of `str`, which msgspec doesn't know
"""The bytes of a `WrittenEnvelope`, always the same for the same."""


class Envelope(Struct, frozen=True):
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
    if len(raw) > LARGEST_EVENT:
        raise Undecodable(f"event: {len(raw)} bytes, where {LARGEST_EVENT} are the most")
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
    try:
        metadata = Metadata.read(convert(about, WrittenMetadata))
    except ValidationError as error:
        raise Undecodable(_wrong_metadata(about)) from error
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
