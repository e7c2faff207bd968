"""`eventcore dlq`: list, show, redrive and purge dead letters."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from .complaints import ToolFailure
from .letters import Choice, choose, details, is_redrivable, summary
from .letters_view import show_letter, show_table
from .options import Json, Yes
from .output import clean
from .tool import Tool
from .words import counted

Letters = Annotated[
    str, typer.Argument(metavar="STREAM", help="A stream (orders_stream) or its dead letters (orders_dlq).")
]
Group = Annotated[str | None, typer.Option("--group", "-g", metavar="GROUP", help="Only what this group has failed.")]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="This letter; any number of times.")]
All = Annotated[bool, typer.Option("--all", help="All letters (of the group, with --group).")]
Last = Annotated[int | None, typer.Option("--last", "-n", min=1, help="Only the newest; 100 without --json or --all.")]

_SHOWN_TO_PEOPLE = 100


async def list_letters(
    tool: Tool,
    stream: Letters,
    group: Group = None,
    id: Ids = None,
    everything: All = False,
    last: Last = None,
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first: id, time, group, reason, type, event id, attempts, error."""
    choice = await choose(tool, stream, group, id, everything)
    if last and (id or everything):
        raise typer.BadParameter("not together with --id or --all", param_hint="--last")
    limit = last or (None if as_json or everything or id else _SHOWN_TO_PEOPLE)
    letters = choice.newest(tool, limit) if limit else choice.letters(tool)
    if as_json:
        await tool.output.document_of(_head(choice), "letters", (summary(each) async for each in letters))
    else:
        shown = await show_table(tool.output, letters)
        if not shown and not choice.unknown:
            tool.output.note(f"there are no dead letters in {_place(choice)}")
        elif shown == limit and not last:
            tool.output.note(f"these are the newest {shown}; --all shows all of {choice.dead_letters.name}")
    _finish(tool, choice)


async def show(
    tool: Tool, stream: Letters, group: Group = None, id: Ids = None, everything: All = False, as_json: Json = False
) -> None:
    """Show everything of dead letters (all, unless --id says which): the facts, the raw event, the traceback."""
    choice = await choose(tool, stream, group, id, everything)
    letters = choice.letters(tool)
    if as_json:
        await tool.output.document_of(_head(choice), "letters", (details(each) async for each in letters))
    else:
        async for letter in letters:
            show_letter(tool.output, letter)
    _finish(tool, choice)


async def redrive(
    tool: Tool, stream: Letters, group: Group = None, id: Ids = None, everything: All = False, as_json: Json = False
) -> None:
    """Hand events back to the group that failed them, and to no other.

    Each letter is handed back once, however often this is asked. An event that fails again becomes a new letter.
    """
    choice = await choose(tool, stream, group, id, everything, explicit=True)
    met, done = 0, 0
    staying: list[str] = []
    receivers: set[str] = set()
    async for batch in choice.batches(tool):
        met += len(batch)
        staying += [letter.id for letter in batch if not is_redrivable(letter)]
        redrivable = [letter for letter in batch if is_redrivable(letter)]
        receivers |= {letter.group for letter in redrivable}
        done += await choice.dead_letters.redrive(redrivable)
    asked = met + len(choice.unknown)
    if as_json:
        counts = {"asked": asked, "redriven": done}
        tool.output.document({**_head(choice), **counts, "unknownIds": choice.unknown, "notRedrivableIds": staying})
    else:
        tool.output.say(f"{done:,} of {asked:,} redriven")
    for each in sorted(receivers - await choice.groups(tool)):
        tool.output.note(f"{each} does not read {choice.dead_letters.stream} now: its events wait for it")
    if staying:
        tool.output.complain(f"these hold no event or name no group, and stay: {_some(staying)}")
    _finish(tool, choice, failed=bool(staying))


async def purge(
    tool: Tool,
    stream: Letters,
    group: Group = None,
    id: Ids = None,
    everything: All = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters for good. On a terminal it asks first, unless --yes says not to."""
    choice = await choose(tool, stream, group, id, everything, explicit=True)
    if not yes and sys.stdin.isatty():
        what = counted(len(choice.ids), "dead letter") if choice.ids else "all dead letters"
        if not tool.ask(f"Delete {what} of {_place(choice)} for good?"):
            raise ToolFailure("nothing was purged")
    met, done = 0, 0
    async for batch in choice.batches(tool):
        met += len(batch)
        done += await choice.dead_letters.purge(batch)
    asked = met + len(choice.unknown)
    if as_json:
        tool.output.document({**_head(choice), "asked": asked, "purged": done, "unknownIds": choice.unknown})
    else:
        tool.output.say(f"{done:,} of {asked:,} purged")
    _finish(tool, choice)


def _head(choice: Choice) -> dict[str, Any]:
    return {"stream": choice.dead_letters.stream, "deadLetters": choice.dead_letters.name, "group": choice.group}


def _place(choice: Choice) -> str:
    return clean(choice.dead_letters.name + (f" (group {choice.group})" if choice.group else ""))


def _finish(tool: Tool, choice: Choice, *, failed: bool = False) -> None:
    """Exit status 1 if something that was asked for is not there, or could not be done."""
    if choice.unknown:
        tool.output.complain(f"no such dead letter in {_place(choice)}: {_some(choice.unknown)}")
    if failed or choice.unknown:
        raise typer.Exit(1)


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:10]) + (f" and {len(ids) - 10:,} more" if len(ids) > 10 else "")
