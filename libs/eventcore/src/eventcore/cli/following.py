"""Following one id through everything that stands in streams, and seeing where each group is with each event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from eventcore.operate.dead_letters import Letter
from eventcore.operate.inspection.aside import entries_aside, entry_aside
from eventcore.operate.inspection.ids import EntryId, milliseconds, parse_id, text
from eventcore.operate.inspection.replies import groups
from eventcore.server.keys import aside_key, dead_letter_stream, retry_stream

from .complaints import ToolFailure
from .entries import StreamEntry, last_id, pages
from .letters import letter_in
from .meaning import BY_CORRELATION, BY_ENTRY, BY_EVENT, UNDECODABLE, SoughtId, mentions
from .tool import Tool
from .words import counted

_MOST_STEPS = 10_000

State = Literal["waiting", "pending", "aside", "done", "dead_lettered", "handed_on"]
_NEVER: EntryId = (-1, 0)


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """Where a group is with an event."""

    group: str
    state: State
    consumer: str | None = None
    attempts: int | None = None
    idle: timedelta | None = None
    due: timedelta | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TraceStep:
    """An event in a stream, or the dead letter that one has become; `by` is the name under which it has the id."""

    entry: StreamEntry
    by: str = BY_CORRELATION
    deliveries: Sequence[GroupProgress] = ()
    letter: Letter | None = None


@dataclass(frozen=True, slots=True)
class SearchedStream:
    """A stream to look through: the groups that read it, or the stream whose dead letters it holds."""

    stream: str
    groups: Sequence[str] = ()
    letters_of: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What was found, in time order, and by which name of the id that was given."""

    by: str
    steps: Sequence[TraceStep]

    @property
    def correlation_ids(self) -> list[str]:
        """The stories that these steps belong to."""
        return sorted({step.entry.correlation_id for step in self.steps if step.entry.correlation_id})


async def follow(tool: Tool, wanted: SoughtId) -> Story:
    """What has to do with an id.

    A correlation id (or its beginning) is followed as such. The id of an event or of an entry leads to the whole story
    that it is a part of. Any other is looked for in what events are about: all these events, of whichever stories.
    Raises `ToolFailure` if there is nothing, or if a part of an id fits several.
    """
    places = [place async for place in _places(tool)]
    found = await _search(tool, places, wanted, wanted.named_in, start=wanted.earliest)
    names = {step.by for step in found}
    if not found:
        where = counted(len(places), "stream")
        raise ToolFailure(f"nothing in {where} has the id {wanted.text} (finished events are trimmed in time)")
    if BY_CORRELATION in names:
        story = Story(BY_CORRELATION, [step for step in found if step.by in (BY_CORRELATION, UNDECODABLE)])
        _check_unique(wanted, story.correlation_ids, "correlation ids")
    elif parts := names & {BY_EVENT, BY_ENTRY}:
        whole = set(Story("", [step for step in found if step.by in parts]).correlation_ids)
        story = Story(min(parts), await _search(tool, places, wanted, _part_of(whole, wanted)))
    else:
        story = Story(min(names, key=lambda name: (name == UNDECODABLE, name)), found)
        if wanted.ending:
            _check_unique(wanted, sorted({step.entry.key or "" for step in found}), "ids")
    return Story(story.by, in_order(with_fates(story.steps)))


def _check_unique(wanted: SoughtId, ids: Sequence[str], what: str) -> None:
    if len(ids) > 1:
        raise ToolFailure(f"{wanted.text} fits {len(ids)} {what}: {', '.join(ids[:5])}")


def _part_of(stories: set[str], wanted: SoughtId) -> Callable[[StreamEntry], str | None]:
    """Whether an entry belongs to one of these stories, or itself has the id."""

    def named(entry: StreamEntry) -> str | None:
        mentioned = any(mentions(entry, story) for story in stories)
        return BY_CORRELATION if mentioned and entry.correlation_id in stories else wanted.named_in(entry)

    return named


async def _search(
    tool: Tool,
    places: Sequence[SearchedStream],
    wanted: SoughtId,
    named: Callable[[StreamEntry], str | None],
    start: str = "-",
) -> list[TraceStep]:
    found = [step for place in places async for step in _steps(tool, place, wanted, named, start)]
    return found + [step for place in places async for step in _steps_aside(tool, place, named)]


async def _places(tool: Tool) -> AsyncIterator[SearchedStream]:
    for stream in await tool.inspector.streams():
        names = list(await groups(tool.redis, tool.key(stream))) if await tool.is_stream(stream) else []
        retries = [SearchedStream(retry_stream(stream, group), (group,)) for group in names]
        for place in (
            SearchedStream(stream, names),
            *retries,
            SearchedStream(dead_letter_stream(stream), letters_of=stream),
        ):
            if await tool.is_stream(place.stream):
                yield place


async def _steps(
    tool: Tool, place: SearchedStream, wanted: SoughtId, named: Callable[[StreamEntry], str | None], start: str
) -> AsyncIterator[TraceStep]:
    key, met = tool.key(place.stream), 0
    async for page in pages(tool.redis, key, start, await last_id(tool.redis, key)):
        for entry_id, fields in page:
            entry = StreamEntry(place.stream, entry_id, fields)
            by = named(entry)
            if by is None:
                continue
            if (met := met + 1) > _MOST_STEPS:
                raise ToolFailure(f"{place.stream} has more than {_MOST_STEPS:,} entries with {wanted.text}")
            if place.letters_of is not None:
                yield TraceStep(entry, by, letter=letter_in(place.letters_of, entry_id, fields))
            else:
                yield TraceStep(entry, by, await _deliveries(tool, place.stream, place.groups, entry_id))


async def _steps_aside(
    tool: Tool, place: SearchedStream, named: Callable[[StreamEntry], str | None]
) -> AsyncIterator[TraceStep]:
    """What is aside although its stream no longer has it."""
    for group in place.groups:
        async for entry_id, fields in entries_aside(tool.redis, tool.key(""), place.stream, group):
            entry = StreamEntry(place.stream, entry_id, fields)
            by = named(entry)
            if by is not None and not await tool.redis.xrange(tool.key(place.stream), entry_id, entry_id):
                aside = await _aside(tool, place.stream, group, entry_id)
                yield TraceStep(entry, by, [aside] if aside else [])


async def _deliveries(tool: Tool, stream: str, names: Sequence[str], entry_id: str) -> list[GroupProgress]:
    key = tool.key(stream)
    rows = await groups(tool.redis, key)
    found: list[GroupProgress] = []
    for group in names:
        if group in rows:
            pending = await tool.redis.xpending_range(key, group, entry_id, entry_id, 1)
            delivery = _delivery(group, rows[group], pending, entry_id)
            aside = await _aside(tool, stream, group, entry_id) if delivery.state == "done" else None
            found.append(aside or delivery)
    return found


async def _aside(tool: Tool, stream: str, group: str, entry_id: str) -> GroupProgress | None:
    """Where the entry was put aside, of which the group has acknowledged it; `None` if it was not."""
    due: float | None = await tool.redis.zscore(tool.key(aside_key(stream, group)), entry_id)
    entry = await entry_aside(tool.redis, tool.key(""), stream, group, entry_id, due) if due is not None else None
    if entry is None:
        return None
    seconds, microseconds = await tool.redis.time()
    waits = timedelta(milliseconds=entry.due_at - int(seconds) * 1000 - int(microseconds) // 1000)  # below 0: overdue
    return GroupProgress(group, "aside", attempts=entry.attempts, due=waits, error=entry.error)


def _delivery(group: str, row: Mapping[str, Any], pending: Sequence[Any], entry_id: str) -> GroupProgress:
    if pending:
        held = pending[0]
        idle = milliseconds(int(held["time_since_delivered"]))
        return GroupProgress(group, "pending", text(held["consumer"]), int(held["times_delivered"]), idle)
    delivered = parse_id(entry_id) <= parse_id(text(row["last-delivered-id"]))
    return GroupProgress(group, "done" if delivered else "waiting")


def with_fates(steps: Sequence[TraceStep]) -> list[TraceStep]:
    """What a group has acknowledged is not always done: it may be a dead letter, or have been handed on since."""
    fates = _Fates(steps)
    return [replace(step, deliveries=[fates.told(step.entry, each) for each in step.deliveries]) for step in steps]


class _Fates:
    """Which entries became dead letters, and which were handed on to the retry stream: redriven, or back from aside.

    A letter names the entry that failed. A redrive keeps the event byte for byte, and so does the letter after it.
    """

    def __init__(self, steps: Sequence[TraceStep]) -> None:
        letters = [step.letter for step in steps if step.letter]
        self._named = {(each.facts.get("stream"), each.facts.get("entryId"), each.group) for each in letters}
        self._letters = _newest((retry_stream(each.stream, each.group), each.event, each.id) for each in letters)
        entries = (step.entry for step in steps if not step.letter)
        self._entries = _newest((each.stream, each.fields.get(b"event"), each.id) for each in entries)

    def told(self, entry: StreamEntry, each: GroupProgress) -> GroupProgress:
        """The delivery with what became of it."""
        return replace(each, state=self._fate(entry, each.group)) if each.state == "done" else each

    def _fate(self, entry: StreamEntry, group: str) -> State:
        is_redriven = entry.stream.endswith(f":{group}:retry")
        event = (entry.stream if is_redriven else retry_stream(entry.stream, group), entry.fields.get(b"event"))
        if (entry.stream, entry.id, group) in self._named:
            return "dead_lettered"
        if self._entries.get(event, _NEVER) > parse_id(entry.id):
            return "handed_on"
        if is_redriven and self._letters.get(event, _NEVER) > parse_id(entry.id):
            return "dead_lettered"
        return "done"


def _newest(entries: Iterable[tuple[str, bytes | None, str]]) -> dict[tuple[str, bytes | None], EntryId]:
    """The newest entry id of each event in each stream."""
    found: dict[tuple[str, bytes | None], EntryId] = {}
    for stream, event, entry_id in entries:
        found[stream, event] = max(found.get((stream, event), _NEVER), parse_id(entry_id))
    return found


def in_order(steps: Sequence[TraceStep]) -> list[TraceStep]:
    """By time; within a millisecond, causes before what they have caused, and events before their dead letters."""
    causes = {
        each.metadata.event_id: each.metadata.causation_id
        for step in steps
        if (each := step.entry.envelope) is not None
    }

    def depth(step: TraceStep) -> int:
        cause = step.entry.envelope.metadata.causation_id if step.entry.envelope else None
        seen: set[str] = set()
        while cause in causes and cause not in seen:
            seen.add(cause)
            cause = causes[cause]
        return len(seen)

    def place(step: TraceStep) -> tuple[int, int, bool, int]:
        milliseconds_, sequence = parse_id(step.entry.id)
        return milliseconds_, depth(step), step.letter is not None, sequence

    return sorted(steps, key=place)
