"""OpenTelemetry's protocol for spans of ours, written by hand: message by message as `trace.proto` has them.

A message is its fields, one after the other: a tag (the field's number and kind of value), and the value, which for
texts and messages within is their length and bytes. The generated classes need ten times as long for a span.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, SpanFlags, Status

from .quick import ENTRY_ID_NAME, MESSAGE_ID_NAME, OUTCOME_NAME, QuickSpan, Template

Encode = Callable[[Sequence[Any]], Any]

_HAS_IS_REMOTE = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_IS_REMOTE = _HAS_IS_REMOTE | int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)


class EncodedSpan:
    """A request that is written already, for exporters that only ask for its bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes."""
        return self._content

    SerializePartialToString = SerializeToString


def encoder(resource: Mapping[str, Any], others: Encode, *, as_message: bool) -> Encode:
    """Encodes batches in which quick spans of this resource, `written`, stand beside those that `others` encodes.

    What it answers can be serialised; `as_message` is for exporters to which only a real message will do.
    """
    about = _field(1, Resource(attributes=_attributes(resource)).SerializeToString())
    scope = ScopeSpans(scope=InstrumentationScope(name="eventcore")).SerializeToString()

    def encode(spans: Sequence[Any]) -> Any:
        quick = [each for each in spans if each.__class__ is bytes]
        content = request(quick) if quick else b""
        if len(quick) < len(spans):  # messages one after the other are one message
            content += others([each for each in spans if each.__class__ is not bytes]).SerializeToString()
        return ExportTraceServiceRequest.FromString(content) if as_message else EncodedSpan(content)

    def request(quick: Sequence[bytes]) -> bytes:
        of_scope = len(scope) + sum(map(len, quick))
        within = _head(2, of_scope)
        # At once, because copies of as much as this cost more than all the rest.
        return b"".join([_head(1, len(about) + len(within) + of_scope), about, within, scope, *quick])

    return encode


def encoded_spans(spans: Iterable[QuickSpan]) -> bytes:
    """Spans, as fields of their scope."""
    return b"".join([_written(each) for each in spans])


def _written(span: QuickSpan) -> bytes:
    message_id, entry_id = span.message_id.encode("utf-8", "replace"), span.entry_id.encode()
    pack, head, common, between = _layout(span.template, span.outcome, len(message_id), len(entry_id))
    trace_and_parent = unhexlify(span.parent[3:52].replace("-", "2208"))  # the tag of the parent
    message = pack(
        head,
        b"\x0a\x10",
        trace_and_parent,
        b"\x12\x08",
        span.id,
        0x39,
        span.started,
        0x41,
        span.ended,
        common,
        message_id,
        between,
        entry_id,
    )
    if span.unusual:
        message = _field(2, message[len(head) :] + _unusual(span).SerializeToString())
    return message


class _Layout(NamedTuple):
    """How spans of a template are written, with ids of given sizes: what is left out comes with each span."""

    pack: Callable[..., bytes]
    head: bytes
    common: bytes
    between: bytes


@lru_cache(maxsize=1000)
def _layout(template: Template, outcome: str | None, message_id: int, entry_id: int) -> _Layout:
    # The protocol counts kinds from 1: 0 stands for "nobody said".
    kind = Span.SpanKind.ValueType(template.kind.value + 1)
    flags = _IS_REMOTE if template.remote else _HAS_IS_REMOTE
    attributes = _attributes({**template.attributes, **({OUTCOME_NAME: outcome} if outcome else {})})
    always = Span(name=template.name, kind=kind, attributes=attributes, flags=flags, status=Status())
    common = always.SerializeToString() + _before_text(MESSAGE_ID_NAME, message_id)
    between = _before_text(ENTRY_ID_NAME, entry_id)
    message = f"2s26s2s8sBQBQ{len(common)}s{message_id}s{len(between)}s{entry_id}s"
    head = _head(2, Struct(f"<{message}").size)
    return _Layout(Struct(f"<{len(head)}s{message}").pack, head, common, between)


def _unusual(span: QuickSpan) -> Span:
    """What few spans have, in a message that is added to the others."""
    return Span(
        trace_state=_utf_8(span.state or ""),
        name=_utf_8(span.name or ""),
        attributes=_attributes(span.attributes),
        dropped_attributes_count=span.dropped_attributes,
        dropped_events_count=span.dropped_events,
        events=[
            Span.Event(name=each.name, time_unix_nano=each.time, attributes=_attributes(each.attributes))
            for each in span.events
        ],
        links=[
            Span.Link(
                trace_id=each.trace_id.to_bytes(16, "big"),
                span_id=each.span_id.to_bytes(8, "big"),
                flags=_IS_REMOTE if each.is_remote else _HAS_IS_REMOTE,
            )
            for each in span.links
        ],
        status=_status(span),
    )


def _status(span: QuickSpan) -> Status | None:
    if span.status is None:
        return None
    return Status(
        code=Status.StatusCode.ValueType(span.status.status_code.value), message=_utf_8(span.status.description or "")
    )


def _before_text(name: str, size: int) -> bytes:
    """An attribute that is a text of so many bytes, up to these; nothing without a text."""
    whole: bytes = _field(9, _key_value(name, "x" * size).SerializeToString())
    return whole[: len(whole) - size] if size else b""


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
            return AnyValue(string_value=_utf_8(value))
        case Iterable():
            return AnyValue(array_value=ArrayValue(values=[_any_value(each) for each in value]))
        case _:
            return AnyValue(string_value=str(value))


def _utf_8(text: str) -> str:
    """A text without the halves of characters that JSON can hold."""
    return text.encode("utf-8", "replace").decode()


def _field(number: int, content: bytes) -> bytes:
    """A text or a message, as the field of this number (which is less than 16)."""
    return _head(number, len(content)) + content


@lru_cache(maxsize=10_000)
def _head(number: int, length: int) -> bytes:
    return bytes([number << 3 | 2]) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
