"""Choosing dead letters: those of a stream, of one group, or with given ids."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from eventcore.operate.dead_letters import DeadLetters, Letter
from eventcore.operate.entries import PAGE_SIZE, last_id
from eventcore.operate.inspection.ids import parse_id
from eventcore.operate.inspection.replies import newest_entries
from eventcore.server.keys import dead_letter_stream

from .tool import Tool

_BATCH = 100


@dataclass
class Choice:
    """Which letters are meant; after `letters` has run, `unknown` tells the ids that there are none of."""

    dead_letters: DeadLetters
    key: str
    group: str | None
    ids: Sequence[str] = ()
    unknown: list[str] = field(default_factory=list)

    async def letters(self, tool: Tool) -> AsyncIterator[Letter]:
        """The letters, oldest first; of all, only those that are there now: one that fails again is not met twice."""
        if self.ids:
            for letter_id in self.ids:
                found = [each async for each in self.dead_letters.list(group=self.group, ids=[letter_id])]
                self.unknown += [] if found else [letter_id]
                for each in found:
                    yield each
        elif await tool.redis.exists(self.key):
            end = parse_id(await last_id(tool.redis, self.key))
            async for each in self.dead_letters.list(group=self.group):
                if parse_id(each.id) > end:
                    return
                yield each

    async def newest(self, tool: Tool, count: int) -> AsyncIterator[Letter]:
        """The newest letters of all, `count` at most, oldest first."""
        letters: deque[Letter] = deque()
        end = "+"
        while len(letters) < count and (rows := await newest_entries(tool.redis, self.key, end, PAGE_SIZE)):
            read = (Letter.of(self.dead_letters.stream, *row) for row in rows)
            letters.extendleft(each for each in read if self.group in (None, each.group))
            end = f"({rows[-1][0]}"
        for each in list(letters)[-count:]:
            yield each

    async def groups(self, tool: Tool) -> set[str]:
        """The groups that read the stream."""
        stream = self.dead_letters.stream
        return set(await tool.inspector.groups(stream)) if await tool.inspector.is_stream(stream) else set()

    async def batches(self, tool: Tool) -> AsyncIterator[list[Letter]]:
        """The same, some at a time."""
        batch: list[Letter] = []
        async for letter in self.letters(tool):
            batch.append(letter)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


async def choose(
    tool: Tool, given: str, group: str | None, ids: Sequence[str] | None, everything: bool, *, explicit: bool = False
) -> Choice:
    """What the user has asked for. Without ids it is all letters; if this must be said, `explicit` demands it.

    Raises `typer.BadParameter` (wrong usage), and `ToolFailure` without such a stream or dead letters.
    """
    if ids and everything:
        raise typer.BadParameter("not together with --id", param_hint="--all")
    if explicit and not ids and not everything:
        raise typer.BadParameter("say which dead letters: --id ID (any number of times) or --all", param_hint="--id")
    for each in ids or ():
        try:
            parse_id(each)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--id") from None
    stream = await stream_of(tool, given)
    return Choice(
        DeadLetters(tool.redis, stream, prefix=tool.settings.key_prefix),
        tool.inspector.key(dead_letter_stream(stream)),
        group,
        tuple(dict.fromkeys(ids or ())),
    )


async def stream_of(tool: Tool, given: str) -> str:
    """The stream meant by its name or that of its dead letters. Raises `ToolFailure` if there is neither."""
    name = tool.name(given)
    base = name.removesuffix("_dlq")
    candidates = [name] if name == base else [f"{base}_stream", base]
    for candidate in candidates:
        if await tool.inspector.is_stream(candidate):
            return candidate
    if await tool.inspector.is_stream(dead_letter_stream(candidates[0])):
        return candidates[0]
    raise await tool.no_stream(candidates[0])


def summary(letter: Letter) -> dict[str, Any]:
    """A letter for programs, without its event and traceback."""
    facts = letter.facts
    names = ("failedAt", "group", "reason", "type", "eventId", "correlationId", "errorType", "error", "entryId")
    return {"id": letter.id, **{name: facts.get(name) for name in names}, "attempts": attempts(letter)}


def details(letter: Letter) -> dict[str, Any]:
    """A letter for programs, with everything that it says."""
    return {**letter.as_json(), "attempts": attempts(letter)}


def attempts(letter: Letter) -> int | None:
    """How many attempts were made, if the letter says so."""
    number = letter.facts.get("attempts", "")
    return int(number) if number.isascii() and number.isdigit() else None


def is_redrivable(letter: Letter) -> bool:
    """Whether there is an event to hand back, and a group to hand it to."""
    return letter.event is not None and bool(letter.group)
