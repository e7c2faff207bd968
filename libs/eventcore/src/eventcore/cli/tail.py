"""`eventcore tail`: the newest entries of a stream, and those that come."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from redis.exceptions import AuthenticationError
from rich.text import Text

from eventcore.operate.entries import PAGE_SIZE, StreamEntry, last_id, newest, pages
from eventcore.operate.inspection.replies import rows_of

from .complaints import OUT_OF_REACH, explain_error
from .options import Json, Stream
from .output import clean
from .tool import Tool
from .words import clock, head, moment
from .words import last_characters as end_of

# Below the connection's timeout for a reply.
_BLOCK_MILLISECONDS = 2_000
_PAUSE_SECONDS = 1.0
# From here on ids are shown in full.
_WIDE = 150


async def tail(
    tool: Tool,
    stream: Stream,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Begin with so many of the newest.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Then wait for new ones, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show a stream's newest entries, one a line: time (UTC), entry id, type, order, correlation id.

    On a terminal of less than 150 columns ids are cut; `--json` (one object a line) and a pipe have them in full.
    """
    name = await tool.stream(stream)
    key = tool.inspector.key(name)
    position = await last_id(tool.redis, key)
    if (found := await newest(tool.redis, key, last)) is not None:
        async for page in pages(tool.redis, key, *found):
            for entry_id, fields in page:
                _show(tool, StreamEntry(name, entry_id, fields), as_json)
        position = found[1]
    if follow:
        tool.endless = True
        await _follow(tool, name, position, as_json)


async def _follow(tool: Tool, name: str, position: str, as_json: bool) -> None:
    """Show what comes, and outlast a server that is away for a while."""
    key, connected = tool.inspector.key(name), True
    while True:
        tool.output.flush()  # before waiting: an event is shown when it comes, also in a pipe
        try:
            reply: Any = await tool.redis.xread({key: position}, count=PAGE_SIZE, block=_BLOCK_MILLISECONDS)
        except AuthenticationError:
            raise
        except OUT_OF_REACH as error:
            if connected:
                tool.output.complain(explain_error(error, tool.settings.redis_address))
            connected = False
            await asyncio.sleep(_PAUSE_SECONDS)
            continue
        connected = True
        for row in [row for _, rows in reply or () for row in rows_of(rows)]:
            _show(tool, StreamEntry(name, *row), as_json)
            position = row[0]


def _show(tool: Tool, entry: StreamEntry, as_json: bool) -> None:
    if as_json:
        tool.output.json_line(entry.as_json())
    else:
        tool.output.line(line(entry, tool.output.width))


def line(entry: StreamEntry, width: int) -> Text:
    """An entry on one line, in as much detail as there is room for."""
    full = width >= _WIDE
    time = moment(entry.time) if full else clock(entry.time)
    shown = Text.assemble((time, "dim"), " ", (entry.id, "cyan"), " ")
    if entry.envelope is None:
        return shown.append("undecodable", "bold red").append(f" {clean(entry.error or '')}")
    key, correlation = clean(entry.key or "-"), clean(entry.correlation_id or "-")
    shown.append(f"{clean(entry.envelope.type):<18}", "bold").append(" ")
    shown.append(f"{key:<36}" if full else f"{end_of(key, 13):<13}").append(" ")
    return shown.append(correlation if full else head(correlation, 12), "dim")
