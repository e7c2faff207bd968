"""OpenTelemetry's protocol for spans of ours, written by hand: message by message as `trace.proto` has them.

A message is its fields, one after the other: a tag (the field's number and kind of value), and the value, which for
texts and messages within is their length and bytes. The generated classes need ten times as long for a span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, SpanFlags, Status
from opentelemetry.util.types import AttributeValue

from .quick import QuickSpan, Template

Encode = Callable[[Sequence[Any]], Any]

_times = Struct("<sQsQ")
_has_is_remote = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_is_remote = _has_is_remote | int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
_local: bytes = Span(flags=_has_is_remote, status=Status()).SerializeToString()
_remote: bytes = Span(flags=_is_remote, status=Status()).SerializeToString()


class Written:
    """A request that is written already, for exporters that only ask for its bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes."""
        return self._content

    SerializePartialToString = SerializeToString


def encoder(resource: Mapping[str, Any], others: Encode, *, as_message: bool) -> Encode:
    """Encodes batches in which quick spans, sent by this resource, stand beside those that `others` encodes.

    What it answers can be serialised; `as_message` is for exporters to which only a real message will do.
    """
    about = _field(1, Resource(attributes=_attributes(resource)).SerializeToString())
    scope = ScopeSpans(scope=InstrumentationScope(name="eventcore")).SerializeToString()

    def encode(spans: Sequence[Any]) -> Any:
        quick = [each for each in spans if isinstance(each, QuickSpan)]
        written = b"".join([_field(2, span_message(each)) for each in quick])
        content = _field(1, about + _field(2, scope + written)) if quick else b""
        if len(quick) < len(spans):  # messages one after the other are one message
            content += others([each for each in spans if not isinstance(each, QuickSpan)]).SerializeToString()
        return ExportTraceServiceRequest.FromString(content) if as_message else Written(content)

    return encode


def span_message(span: QuickSpan) -> bytes:
    """The `Span` message."""
    message = b"\x0a\x10%b\x12\x08%b\x22\x08%b%b%b%b%b" % (
        bytes.fromhex(span.trace_id),
        bytes.fromhex(span.id),
        bytes.fromhex(span.parent_id),
        _common(span.template),
        _times.pack(b"\x39", span.started, b"\x41", span.ended),
        b"".join([_attribute(name, value) for name, value in span.attributes.items()]),
        _remote if span.parent_is_remote else _local,
    )
    if span.state:
        message += _field(3, span.state.encode())
    if span.name != span.template.name:
        message += _field(5, span.name.encode())
    if span.events or span.links or span.status.value:
        message += _unusual(span).SerializeToString()
    return message


@lru_cache(maxsize=1000)
def _common(template: Template) -> bytes:
    """What all spans of a template have in common."""
    # The protocol counts kinds from 1: 0 stands for "nobody said".
    common = Span(name=template.name, kind=Span.SpanKind.ValueType(template.kind.value + 1))
    beginning: bytes = common.SerializeToString()
    return beginning + b"".join(_attribute(name, value) for name, value in template.attributes.items())


def _unusual(span: QuickSpan) -> Span:
    """What few spans have, in a message that is added to the others."""
    return Span(
        events=[
            Span.Event(name=each.name, time_unix_nano=each.time, attributes=_attributes(each.attributes))
            for each in span.events
        ],
        links=[
            Span.Link(
                trace_id=each.trace_id.to_bytes(16, "big"),
                span_id=each.span_id.to_bytes(8, "big"),
                flags=_is_remote if each.is_remote else _has_is_remote,
            )
            for each in span.links
        ],
        status=Status(code=Status.StatusCode.ValueType(span.status.value), message=span.description),
    )


def _attribute(name: str, value: AttributeValue) -> bytes:
    """One of a span's attributes."""
    if value.__class__ is str and len(text := value.encode("utf-8", "replace")) < 100:
        return _short_text(name, len(text)) + text
    if value.__class__ is int:
        return _number(name, value)
    return _field(9, _key_value(name, value).SerializeToString())


@lru_cache(maxsize=1000)
def _number(name: str, value: int) -> bytes:
    """An attribute that is a number; the same few come again and again."""
    return _field(9, _key_value(name, value).SerializeToString())


@lru_cache(maxsize=10_000)
def _short_text(name: str, length: int) -> bytes:
    """An attribute that is a text of so many bytes, up to these."""
    whole: bytes = _field(9, _key_value(name, "x" * length).SerializeToString())
    return whole[: len(whole) - length]


def _attributes(named: Mapping[str, Any]) -> list[KeyValue]:
    return [_key_value(name, value) for name, value in named.items()]


def _key_value(name: str, value: Any) -> KeyValue:
    return KeyValue(key=name, value=_any_value(value))


def _any_value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value.encode("utf-8", "replace").decode())
        case Iterable():
            return AnyValue(array_value=ArrayValue(values=[_any_value(each) for each in value]))
        case _:
            return AnyValue(string_value=str(value))


def _field(number: int, content: bytes) -> bytes:
    """A text or a message, as the field of this number (which is less than 16)."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
