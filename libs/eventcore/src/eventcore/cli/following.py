"""Following one id through everything that stands in streams, and seeing where each group is with each event."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal

from eventcore.dead_letters import Letter
from eventcore.inspection.ids import milliseconds, parse_id, text
from eventcore.inspection.replies import groups
from eventcore.streams import dead_letter_stream, retry_stream

from .complaints import Failure
from .entries import Entry, last_id, pages
from .letters import letter_in
from .tool import Tool
from .words import counted

_most_steps = 10_000

State = Literal["waiting", "pending", "done", "dead_lettered"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a group is with an event."""

    group: str
    state: State
    consumer: str | None = None
    attempts: int | None = None
    idle: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """An event in a stream, or the dead letter that one has become."""

    entry: Entry
    deliveries: Sequence[Delivery] = ()
    letter: Letter | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A stream to look through: the groups that read it, or the stream whose dead letters it holds."""

    stream: str
    groups: Sequence[str] = ()
    letters_of: str | None = None


async def follow(tool: Tool, wanted: str, *, order: bool) -> list[Step]:
    """What has to do with an order, or else with a correlation id (or its beginning), in time order.

    Raises `Failure` if there is nothing, or if a beginning fits several correlation ids.
    """
    places = [place async for place in _places(tool)]
    steps = [step for place in places async for step in _steps(tool, place, wanted, order)]
    if not steps:
        what = "order" if order else "correlation id"
        where = counted(len(places), "stream")
        raise Failure(f"nothing in {where} has the {what} {wanted} (finished events are trimmed in time)")
    found = sorted({step.entry.correlation_id for step in steps if step.entry.correlation_id})
    if not order and len(found) > 1:
        raise Failure(f"{wanted} fits {len(found)} correlation ids: {', '.join(found[:5])}")
    return in_order(mark_dead_lettered(steps))


async def _places(tool: Tool) -> AsyncIterator[Place]:
    for stream in await tool.inspector.streams():
        names = list(await groups(tool.redis, tool.key(stream))) if await tool.is_stream(stream) else []
        retries = [Place(retry_stream(stream, group), (group,)) for group in names]
        for place in (Place(stream, names), *retries, Place(dead_letter_stream(stream), letters_of=stream)):
            if await tool.is_stream(place.stream):
                yield place


async def _steps(tool: Tool, place: Place, wanted: str, order: bool) -> AsyncIterator[Step]:
    key, met = tool.key(place.stream), 0
    async for page in pages(tool.redis, key, end=await last_id(tool.redis, key)):
        for entry_id, fields in page:
            entry = Entry(place.stream, entry_id, fields)
            if not concerns(entry, wanted, order=order):
                continue
            if (met := met + 1) > _most_steps:
                raise Failure(f"{place.stream} has more than {_most_steps:,} entries with {wanted}")
            if place.letters_of is not None:
                yield Step(entry, letter=letter_in(place.letters_of, entry_id, fields))
            else:
                yield Step(entry, await _deliveries(tool, key, place.groups, entry_id))


def concerns(entry: Entry, wanted: str, *, order: bool) -> bool:
    """Whether an event has the id; of an undecodable one, whether it is mentioned at all."""
    raw = entry.fields.get(b"event", b"")
    if not any(spelling in raw for spelling in spellings(wanted)):
        return False  # by far the most: nothing to decode
    if entry.envelope is None:
        return True
    if order:
        return str(entry.envelope.data.get("orderId")) == wanted
    return (entry.correlation_id or "").startswith(wanted)


@lru_cache
def spellings(wanted: str) -> frozenset[bytes]:
    """How a string may stand in JSON."""
    return frozenset(json.dumps(wanted, ensure_ascii=plain)[1:-1].encode("utf-8", "replace") for plain in (True, False))


async def _deliveries(tool: Tool, key: str, names: Sequence[str], entry_id: str) -> list[Delivery]:
    rows = await groups(tool.redis, key)
    found: list[Delivery] = []
    for group in names:
        if group in rows:
            pending = await tool.redis.xpending_range(key, group, entry_id, entry_id, 1)
            found.append(_delivery(group, rows[group], pending, entry_id))
    return found


def _delivery(group: str, row: Mapping[str, Any], pending: Sequence[Any], entry_id: str) -> Delivery:
    if pending:
        held = pending[0]
        idle = milliseconds(int(held["time_since_delivered"]))
        return Delivery(group, "pending", text(held["consumer"]), int(held["times_delivered"]), idle)
    delivered = parse_id(entry_id) <= parse_id(text(row["last-delivered-id"]))
    return Delivery(group, "done" if delivered else "waiting")


def mark_dead_lettered(steps: Sequence[Step]) -> list[Step]:
    """A group with a dead letter of an event is not done with it."""
    letters = {
        (step.letter.facts.get("stream"), step.letter.facts.get("entryId"), step.letter.group)
        for step in steps
        if step.letter
    }

    def marked(step: Step, each: Delivery) -> Delivery:
        lies_dead = (step.entry.stream, step.entry.id, each.group) in letters and each.state == "done"
        return replace(each, state="dead_lettered") if lies_dead else each

    return [replace(step, deliveries=[marked(step, each) for each in step.deliveries]) for step in steps]


def in_order(steps: Sequence[Step]) -> list[Step]:
    """By time; within a millisecond, causes before what they have caused, and events before their dead letters."""
    causes = {
        each.metadata.event_id: each.metadata.causation_id
        for step in steps
        if (each := step.entry.envelope) is not None
    }

    def depth(step: Step) -> int:
        cause = step.entry.envelope.metadata.causation_id if step.entry.envelope else None
        seen: set[str] = set()
        while cause in causes and cause not in seen:
            seen.add(cause)
            cause = causes[cause]
        return len(seen)

    def place(step: Step) -> tuple[int, int, bool, int]:
        milliseconds_, sequence = parse_id(step.entry.id)
        return milliseconds_, depth(step), step.letter is not None, sequence

    return sorted(steps, key=place)
