"""What an operator should look at: decided from the states of server and streams alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventcore.operate.inspection import (
    AsideEntry,
    ConsumerState,
    DeadLetterState,
    GroupState,
    PendingEntry,
    ServerState,
    StreamState,
)
from eventcore.operate.trends import Trends

from .words import age, at_least, counted, rate, size

# Longer than the retries of a delivery at default settings.
STUCK_AFTER = timedelta(minutes=5)
# Less is what lies between an event and its reading.
BEHIND_AFTER = timedelta(seconds=1)
# What is aside and due comes back with somebody's next heartbeat (`HEARTBEAT_SECONDS` is a minute at most).
OVERDUE_AFTER = timedelta(minutes=2)
# Of the hard cap, at which services refuse new events, and of the server's memory.
NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class FoundProblem:
    """Something that is wrong (or, if not `grave`, may become so); `kind` is for programs, `text` for people.

    One without a stream is the server's.
    """

    kind: str
    stream: str | None
    group: str | None
    text: str
    grave: bool = True


_UNSEEN = FoundProblem(
    "unchecked", None, None, "the Redis user may not run INFO: the server is not checked", grave=False
)


def problems(
    server: ServerState | None, states: Sequence[StreamState], trends: Trends, *, cap: int
) -> list[FoundProblem]:
    """The problems of the server and all streams, grave ones first."""
    found = [*_of_server(server)] if server else [_UNSEEN]
    found += [problem for state in states for problem in _of_stream(state, trends, cap)]
    return sorted(found, key=lambda problem: not problem.grave)


def _of_server(server: ServerState) -> Iterator[FoundProblem]:
    def problem(kind: str, text: str, *, grave: bool = True) -> FoundProblem:
        return FoundProblem(kind, None, None, text, grave)

    if server.memory_limit and (server.memory_used or 0) >= NEARLY_FULL:
        text = f"{size(server.memory)} of {size(server.memory_limit)} of memory are used, then writes are refused"
        yield problem("memory_nearly_full", text)
    for each in server.findings:
        yield problem(each.kind, str(each), grave=each.grave)
    if server.is_replica:
        yield problem("replica", "this is a replica: what it shows may be old", grave=False)


def _of_stream(state: StreamState, trends: Trends, cap: int) -> Iterator[FoundProblem]:
    if state.length >= NEARLY_FULL * cap:
        text = f"{counted(state.length, 'entry', 'entries')} of at most {cap:,}, then new events are refused"
        yield FoundProblem("nearly_full", state.name, None, text)
    if not state.exists:
        text = "it is not there, only what belongs to it: somebody has deleted it, or nothing was published yet"
        yield FoundProblem("not_there", state.name, None, text, grave=False)
    if state.length and not state.groups:
        yield FoundProblem("no_group", state.name, None, "no group reads it", grave=False)
    for group in state.groups:
        yield from _of_group(state, group, trends)
    if state.dead_letters.length:
        yield FoundProblem("dead_letters", state.name, None, _letters(state.name, state.dead_letters))


def _letters(stream: str, letters: DeadLetterState) -> str:
    """How many there are, why, and whether more come."""
    reasons = ", ".join(f"{count:,} {reason or 'unknown'}" for reason, count in letters.by_reason.items())
    newest = "the newest " if letters.length > 1 else ""
    since = f", {newest}{age(letters.newest_age)} ago" if letters.newest_age is not None else ""
    return f"{counted(letters.length, 'dead letter')}{since} ({reasons}): eventcore dlq list {stream}"


def _of_group(state: StreamState, group: GroupState, trends: Trends) -> Iterator[FoundProblem]:
    def problem(kind: str, text: str, *, grave: bool = True) -> FoundProblem:
        return FoundProblem(kind, state.name, group.name, text, grave)

    lag, alive = group.main.lag, any(consumer.alive for consumer in group.consumers)
    waiting = f"{at_least(lag.entries, lag.capped)} undelivered, the first for {age(lag.age)}"
    if holders := [consumer for consumer in group.consumers if not consumer.alive and consumer.holds]:
        yield problem("dead_consumer_holds", _holding(holders))
    if lacking := _lacking(group.consumers):
        yield problem("handlers_differ", lacking)
    if lag.entries + group.unfinished_retries + group.aside.count and not alive:
        since = f"; {waiting}" if lag.entries else ""
        yield problem("no_consumer", f"nobody reads, no consumer is alive{since}")
    if trends.rising(state.name, group.name) and lag.age >= BEHIND_AFTER:
        yield problem("lag_rising", f"lag is rising by {rate(trends.lag(state.name, group.name) or 0)}: {waiting}")
    elif lag.age >= STUCK_AFTER and alive:
        yield problem("behind", waiting + _outlook(lag.entries, trends.lag(state.name, group.name)), grave=False)
    yield from _of_waiting(state, group)


def _of_waiting(state: StreamState, group: GroupState) -> Iterator[FoundProblem]:
    """What waits for another attempt, pending or aside."""

    def problem(kind: str, text: str, *, grave: bool = True) -> FoundProblem:
        return FoundProblem(kind, state.name, group.name, text, grave)

    if first := group.aside.next:
        due = timedelta(milliseconds=first.due_at - round(state.at.timestamp() * 1000))
        yield problem("aside", _aside(group.aside.count, first, due), grave=-due > OVERDUE_AFTER)
    for progress in (group.main, group.retry):
        oldest = progress.oldest_pending if progress else None
        if oldest and oldest.age >= STUCK_AFTER:
            yield problem("stuck", _unfinished(oldest))
        elif oldest and oldest.attempts > 1:
            yield problem("retrying", _unfinished(oldest), grave=False)


def _lacking(consumers: Sequence[ConsumerState]) -> str:
    """Which of the living acknowledge events unseen that others of their group have handlers for."""
    handled = {each.name: each.handles for each in consumers if each.alive and each.handles is not None}
    everything = frozenset[str]().union(*handled.values())
    lacking: dict[frozenset[str], list[str]] = {}
    for name, types in handled.items():
        if types != everything:
            lacking.setdefault(everything - types, []).append(name)
    return "; ".join(
        f"no handler for {', '.join(sorted(types))} in {_some(names)}, but in others of the group: "
        "such events are acknowledged unseen"
        for types, names in lacking.items()
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _aside(count: int, first: AsideEntry, due: timedelta) -> str:
    """How many are aside, and what there is to know of the next, which is due in so long."""
    of = f" of lane {first.lane}" if first.lane else ""
    why = f" failed with {first.error}," if first.error else ""
    when = f"is tried again in {age(max(due, timedelta(0)))}"
    if -due > OVERDUE_AFTER:
        when = (
            f"was to be tried again {age(-due)} ago, but nobody brings it back (versions that put nothing aside don't),"
        )
    return (
        f"{counted(count, 'delivery', 'deliveries')} put aside: {first.entry_id}{of}{why} "
        f"{when} after {counted(first.attempts, 'attempt')}: eventcore trace {first.entry_id}"
    )


def _holding(dead: Sequence[ConsumerState]) -> str:
    held = counted(sum(consumer.holds for consumer in dead), "entry", "entries")
    if len(dead) > 1:
        names = _some([consumer.name for consumer in dead])
        return f"{len(dead):,} consumers are dead or have left, and hold {held}: {names}"
    [only] = dead
    how = "left" if only.left else f"is dead for {age(only.silent or only.idle)}"
    return f"{only.name} {how} and holds {held}"


def _outlook(lag: int, change: float | None) -> str:
    """Whether it is getting better, and when it will be well."""
    if change is None:
        return ""
    if change > -0.05:
        return ", and not falling"
    return f", falling by {rate(-change)}: done in about {age(timedelta(seconds=round(lag / -change)))}"


def _unfinished(entry: PendingEntry) -> str:
    attempt = f"attempt {entry.attempts} began {age(entry.idle)} ago on {entry.consumer}"
    return f"{entry.entry_id} is unfinished after {age(entry.age)}, {attempt}: eventcore trace {entry.entry_id}"
