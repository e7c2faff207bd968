"""`eventcore tail`: the newest entries of a stream, and those that come."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from redis.exceptions import AuthenticationError
from rich.text import Text

from eventcore.operate.inspection.replies import rows_of

from .complaints import explain, out_of_reach
from .entries import Entry, last_id, newest, page_size, pages
from .options import Json, Stream
from .output import clean
from .tool import Tool
from .words import clock, head, moment
from .words import tail as end_of

# Below the connection's timeout for a reply.
_block_milliseconds = 2_000
_pause_seconds = 1.0
# From here on ids are shown in full.
_wide = 150


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
    key = tool.key(name)
    position = await last_id(tool.redis, key)
    if (found := await newest(tool.redis, key, last)) is not None:
        async for page in pages(tool.redis, key, *found):
            for entry_id, fields in page:
                _show(tool, Entry(name, entry_id, fields), as_json)
        position = found[1]
    if follow:
        tool.endless = True
        await _follow(tool, name, position, as_json)


async def _follow(tool: Tool, name: str, position: str, as_json: bool) -> None:
    """Show what comes, and outlast a server that is away for a while."""
    connected = True
    while True:
        tool.output.flush()  # before waiting: an event is shown when it comes, also in a pipe
        try:
            reply: Any = await tool.redis.xread({tool.key(name): position}, count=page_size, block=_block_milliseconds)
        except AuthenticationError:
            raise
        except out_of_reach as error:
            if connected:
                tool.output.complain(explain(error, tool.settings.redis_address))
            connected = False
            await asyncio.sleep(_pause_seconds)
            continue
        connected = True
        for row in [row for _, rows in reply or () for row in rows_of(rows)]:
            _show(tool, Entry(name, *row), as_json)
            position = row[0]


def _show(tool: Tool, entry: Entry, as_json: bool) -> None:
    if as_json:
        tool.output.json_line(entry.as_json())
    else:
        tool.output.line(line(entry, tool.output.width))


def line(entry: Entry, width: int) -> Text:
    """An entry on one line, in as much detail as there is room for."""
    full = width >= _wide
    time = moment(entry.time) if full else clock(entry.time)
    shown = Text.assemble((time, "dim"), " ", (entry.id, "cyan"), " ")
    if entry.envelope is None:
        return shown.append("undecodable", "bold red").append(f" {clean(entry.error or '')}")
    key, correlation = clean(entry.key or "-"), clean(entry.correlation_id or "-")
    shown.append(f"{clean(entry.envelope.type):<18}", "bold").append(" ")
    shown.append(f"{key:<36}" if full else f"{end_of(key, 13):<13}").append(" ")
    return shown.append(correlation if full else head(correlation, 12), "dim")
