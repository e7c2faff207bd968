"""`eventcore publish`: append an event of any type to a stream."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from pydantic_core import from_json
from redis.exceptions import AuthenticationError

from eventcore.errors import Undecodable
from eventcore.events.envelope import Origin, decode, new_id, timestamp
from eventcore.events.event import Version
from eventcore.operate.inspection.ids import text

from .complaints import OUT_OF_REACH, ToolFailure
from .options import Json, Stream
from .tool import Tool

SOURCE = "eventcore-cli"


def _trace_id(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) != 32 or not set(text.lower()) <= set("0123456789abcdef") or not text.strip("0"):
        raise typer.BadParameter("a correlation id is a trace id: 32 hexadecimal digits, not all 0")
    return text.lower()


def _version(text: str) -> str:
    try:
        return str(Version.parse(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


async def publish_event(
    tool: Tool,
    stream: Stream,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="The event's type, as in order.created.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its data, a JSON object; - reads it from stdin.")],
    version: Annotated[str, typer.Option(metavar="MAJOR.MINOR", callback=_version, help="Of the data.")] = "1.0",
    correlation_id: Annotated[
        str | None, typer.Option(metavar="TRACE_ID", callback=_trace_id, help="32 hexadecimal digits; new by default.")
    ] = None,
    event_id: Annotated[str | None, typer.Option(metavar="ID", help="A new UUID by default.")] = None,
    as_json: Json = False,
) -> None:
    """Publish an event: prints its entry id and its event id.

    The event is given the metadata that services give theirs, with the source "eventcore-cli". A stream that isn't
    there is created.
    """
    if not (name := tool.name(stream)).strip():
        raise typer.BadParameter("must not be empty", param_hint="STREAM")
    content = _object(sys.stdin.read() if data == "-" else data)
    origin = Origin.new(SOURCE, correlation_id)
    event_id = event_id if event_id is not None else new_id()
    raw = envelope(type, content, version, event_id, origin)
    existed = await _check_room(tool, name)
    entry_id = await _append(tool, name, raw, event_id)
    if as_json:
        ids = {"entryId": entry_id, "eventId": event_id, "correlationId": origin.correlation_id}
        tool.output.document({"stream": name, **ids, "created": not existed})
    else:
        tool.output.say(f"{entry_id} {event_id}")
    if not existed:
        tool.output.note(f"the stream {name} was not there before")


def _object(text: str) -> dict[str, Any]:
    try:
        content = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="JSON") from None
    if not isinstance(content, dict):
        raise typer.BadParameter('must be a JSON object, as in \'{"orderId": "1"}\'', param_hint="JSON")
    return content


def envelope(type: str, data: dict[str, Any], version: str, event_id: str, origin: Origin) -> bytes:
    """The envelope as it goes into the entry; one that no consumer could decode raises `typer.BadParameter`."""
    if not type.isprintable() or not type.strip():
        raise typer.BadParameter("must not be empty", param_hint="TYPE")
    metadata = {
        "eventId": event_id,
        "timestamp": timestamp(),
        "version": version,
        "correlationId": origin.correlation_id,
        "causationId": None,
        "source": origin.source,
        "traceparent": origin.traceparent,
    }
    event = {"type": type, "data": data, "metadata": metadata}
    raw = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    try:
        decode({b"event": raw})
    except Undecodable as error:
        raise typer.BadParameter(str(error)) from None
    return raw


async def _check_room(tool: Tool, name: str) -> bool:
    """Whether the stream is there. Raises `ToolFailure` at its hard cap, where services refuse new events as well."""
    existed = await tool.inspector.is_stream(name)
    if existed and await tool.redis.xlen(tool.inspector.key(name)) >= tool.settings.stream_cap:
        raise ToolFailure(f"{name} is at its hard cap of {tool.settings.stream_cap:,} entries (STREAM_CAP)")
    return existed


async def _append(tool: Tool, name: str, raw: bytes, event_id: str) -> str:
    try:
        return text(await tool.redis.xadd(tool.inspector.key(name), {"event": raw}) or "")
    except AuthenticationError:
        raise
    except OUT_OF_REACH as error:
        raise ToolFailure(
            f"Redis at {tool.settings.redis_address} has not answered ({error}): event {event_id} was published, or not"
        ) from error
