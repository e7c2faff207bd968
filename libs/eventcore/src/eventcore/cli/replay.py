"""`eventcore replay`: hand past events to one group once more."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from eventcore.consume.delivery import milliseconds_at
from eventcore.operate.inspection.ids import parse_id
from eventcore.operate.replaying import NoSuchGroup, Replay

from .complaints import ToolFailure
from .options import DryRun, Json, Stream
from .tool import Tool
from .words import counted

ToGroup = Annotated[str, typer.Option("--group", "-g", metavar="GROUP", help="The group that gets them, and no other.")]
OfTypes = Annotated[
    list[str] | None, typer.Option("--type", "-t", metavar="TYPE", help="Only this type; any number of times.")
]
_BOUND = "an entry id, or a time with its zone (2026-12-01T04:00:00Z); it belongs to it."
FromPlace = Annotated[str, typer.Option("--from", metavar="FROM", help=f"The first: {_BOUND}")]
ToPlace = Annotated[
    str, typer.Option("--to", metavar="TO", help=f"The last: {_BOUND} Else all that the group was given.")
]


async def replay(
    tool: Tool,
    stream: Stream,
    group: ToGroup,
    first: FromPlace,
    last: ToPlace = "+",
    types: OfTypes = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Hand past events to one group once more, for a handler that was not there when they came.

    They keep id and trace. What the group has not finished with is left out: repeated, the command adds nothing as long
    as the first has not been handled. What was handled is handled again: handlers recognise it by their own guards.
    """
    name = await tool.stream(stream)
    begin, end = _bound(first, "--from"), last if last == "+" else _bound(last, "--to")
    run = Replay(tool.inspector, name, group, cap=tool.settings.stream_cap, dry=dry_run)
    try:
        done = await run.run(begin, end, types or ())
    except NoSuchGroup as error:
        raise ToolFailure(str(error)) from error
    if as_json:
        head = {
            "stream": name,
            "group": group,
            "types": types or [],
            "from": first,
            "to": None if last == "+" else last,
        }
        counts = {"found": dict(done.found), "replayed": done.handed, "waiting": done.waiting}
        tool.output.document({**head, "dryRun": dry_run, **counts, "fullAt": done.full_at})
    else:
        would = "would be replayed" if dry_run else "replayed"
        of = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.found.items())) or "no event"
        still = f", {done.waiting:,} still wait for {group}" if done.waiting else ""
        tool.output.say(f"{counted(done.handed, 'event')} {would}, found {of}{still}")
    if done.full_at:
        raise ToolFailure(
            f"the retry stream of {group} is at its hard cap (STREAM_CAP, {tool.settings.stream_cap:,}): "
            f"once it is trimmed go on with --from {done.full_at}"
        )


def _bound(given: str, option: str) -> str:
    """An end of the range as Redis takes it; milliseconds alone stand for all entries of theirs."""
    with suppress(ValueError):
        return "{}-{}".format(*parse_id(given))
    try:
        time = datetime.fromisoformat(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is neither an entry id nor a time", param_hint=option) from None
    if time.utcoffset() is None:
        raise typer.BadParameter(f"{given} has no time zone, as in 2026-12-01T04:00:00Z", param_hint=option)
    return str(milliseconds_at(time))
