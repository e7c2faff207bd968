"""Following one id through everything that stands in streams, and seeing where each group is with each event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from eventcore.errors import EventcoreError
from eventcore.server.keys import aside_key, dead_letter_stream, retry_stream

from .dead_letters import Letter
from .entries import StreamEntry, last_id, pages
from .inspection import Inspector
from .inspection.aside import entries_aside, entry_aside
from .inspection.ids import EntryId, milliseconds, parse_id, text
from .sought_id import BY_CORRELATION, BY_ENTRY, BY_EVENT, UNDECODABLE, SoughtId, mentions

_MOST_STEPS = 10_000

State = Literal["waiting", "pending", "aside", "done", "dead_lettered", "handed_on"]
_NEVER: EntryId = (-1, 0)
NameOf = Callable[[StreamEntry], str | None]
"""By what name an entry has the id that is followed, if it has."""


class NotFollowed(EventcoreError):
    """There is nothing with the id, or it fits too much; the message is one line for whoever asked."""


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


async def follow(inspector: Inspector, wanted: SoughtId) -> Story:
    """What has to do with an id.

    A correlation id (or its beginning) is followed as such. The id of an event or of an entry leads to the whole story
    that it is a part of. Any other is looked for in what events are about: all these events, of whichever stories.
    Raises `NotFollowed` if there is nothing, or if a part of an id fits several.
    """
    places = [place async for place in _places(inspector)]
    found = await _search(inspector, places, wanted, wanted.named_in, start=wanted.earliest)
    names = {step.by for step in found}
    if not found:
        where = f"{len(places):,} stream{'s' * (len(places) != 1)}"
        raise NotFollowed(f"nothing in {where} has the id {wanted.text} (finished events are trimmed in time)")
    if BY_CORRELATION in names:
        story = Story(BY_CORRELATION, [step for step in found if step.by in (BY_CORRELATION, UNDECODABLE)])
        _check_unique(wanted, story.correlation_ids, "correlation ids")
    elif parts := names & {BY_EVENT, BY_ENTRY}:
        whole = set(Story("", [step for step in found if step.by in parts]).correlation_ids)
        story = Story(min(parts), await _search(inspector, places, wanted, _part_of(whole, wanted)))
    else:
        story = Story(min(names, key=lambda name: (name == UNDECODABLE, name)), found)
        if wanted.ending:
            _check_unique(wanted, sorted({step.entry.key or "" for step in found}), "ids")
    return Story(story.by, in_order(with_fates(story.steps)))


def _check_unique(wanted: SoughtId, ids: Sequence[str], what: str) -> None:
    if len(ids) > 1:
        raise NotFollowed(f"{wanted.text} fits {len(ids)} {what}: {', '.join(ids[:5])}")


def _part_of(stories: set[str], wanted: SoughtId) -> NameOf:
    """Whether an entry belongs to one of these stories, or itself has the id."""

    def named(entry: StreamEntry) -> str | None:
        mentioned = any(mentions(entry, story) for story in stories)
        return BY_CORRELATION if mentioned and entry.correlation_id in stories else wanted.named_in(entry)

    return named


async def _search(
    inspector: Inspector,
    places: Sequence[SearchedStream],
    wanted: SoughtId,
    named: NameOf,
    start: str = "-",
) -> list[TraceStep]:
    found = [step for place in places async for step in _steps(inspector, place, wanted, named, start)]
    return found + [step for place in places async for step in _steps_aside(inspector, place, named)]


async def _places(inspector: Inspector) -> AsyncIterator[SearchedStream]:
    for stream in await inspector.streams():
        names = list(await inspector.groups(stream)) if await inspector.is_stream(stream) else []
        retries = [SearchedStream(retry_stream(stream, group), (group,)) for group in names]
        for place in (
            SearchedStream(stream, names),
            *retries,
            SearchedStream(dead_letter_stream(stream), letters_of=stream),
        ):
            if await inspector.is_stream(place.stream):
                yield place


async def _steps(
    inspector: Inspector, place: SearchedStream, wanted: SoughtId, named: NameOf, start: str
) -> AsyncIterator[TraceStep]:
    key, met = inspector.key(place.stream), 0
    async for page in pages(inspector.redis, key, start, await last_id(inspector.redis, key)):
        for entry_id, fields in page:
            entry = StreamEntry(place.stream, entry_id, fields)
            by = named(entry)
            if by is None:
                continue
            if (met := met + 1) > _MOST_STEPS:
                raise NotFollowed(f"{place.stream} has more than {_MOST_STEPS:,} entries with {wanted.text}")
            if place.letters_of is not None:
                yield TraceStep(entry, by, letter=Letter.of(place.letters_of, entry_id, fields))
            else:
                yield TraceStep(entry, by, await _deliveries(inspector, place.stream, place.groups, entry_id))


async def _steps_aside(inspector: Inspector, place: SearchedStream, named: NameOf) -> AsyncIterator[TraceStep]:
    """What is aside although its stream no longer has it."""
    for group in place.groups:
        async for entry_id, fields in entries_aside(inspector.redis, inspector.prefix, place.stream, group):
            entry = StreamEntry(place.stream, entry_id, fields)
            by = named(entry)
            if by is not None and not await inspector.redis.xrange(inspector.key(place.stream), entry_id, entry_id):
                aside = await _aside(inspector, place.stream, group, entry_id)
                yield TraceStep(entry, by, [aside] if aside else [])


async def _deliveries(inspector: Inspector, stream: str, names: Sequence[str], entry_id: str) -> list[GroupProgress]:
    key = inspector.key(stream)
    rows = await inspector.groups(stream)
    found: list[GroupProgress] = []
    for group in names:
        if group in rows:
            pending = await inspector.redis.xpending_range(key, group, entry_id, entry_id, 1)
            delivery = _delivery(group, rows[group], pending, entry_id)
            aside = await _aside(inspector, stream, group, entry_id) if delivery.state == "done" else None
            found.append(aside or delivery)
    return found


async def _aside(inspector: Inspector, stream: str, group: str, entry_id: str) -> GroupProgress | None:
    """Where the entry was put aside, of which the group has acknowledged it; `None` if it was not."""
    due: float | None = await inspector.redis.zscore(inspector.key(aside_key(stream, group)), entry_id)
    if due is None:
        return None
    entry = await entry_aside(inspector.redis, inspector.prefix, stream, group, entry_id, due)
    if entry is None:
        return None
    seconds, microseconds = await inspector.redis.time()
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
