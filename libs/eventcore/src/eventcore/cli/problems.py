"""What an operator should look at: decided from the states of the streams alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventcore.inspection import GroupState, StreamState

from .trends import Trends
from .words import age, at_least, counted

# Longer than the retries of a delivery at default settings.
stuck_after = timedelta(minutes=5)
# Less is what lies between an event and its reading.
behind_after = timedelta(seconds=1)
# Of the hard cap, at which services refuse new events.
nearly_full = 0.9


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong (or, if not `grave`, may become so); `kind` is for programs, `text` for people."""

    kind: str
    stream: str
    group: str | None
    text: str
    grave: bool = True


def problems(states: Sequence[StreamState], trends: Trends, *, cap: int) -> list[Problem]:
    """The problems of all streams, grave ones first."""
    found = [problem for state in states for problem in _of_stream(state, trends, cap)]
    return sorted(found, key=lambda problem: not problem.grave)


def _of_stream(state: StreamState, trends: Trends, cap: int) -> Iterator[Problem]:
    if state.length >= nearly_full * cap:
        text = f"{counted(state.length, 'entry', 'entries')} of at most {cap:,}, then new events are refused"
        yield Problem("nearly_full", state.name, None, text)
    if state.length and not state.groups:
        yield Problem("no_group", state.name, None, "no group reads it", grave=False)
    for group in state.groups:
        yield from _of_group(state, group, trends)
    if letters := state.dead_letters.length:
        text = f"{counted(letters, 'dead letter')}: eventcore dlq list {state.name}"
        yield Problem("dead_letters", state.name, None, text)


def _of_group(state: StreamState, group: GroupState, trends: Trends) -> Iterator[Problem]:
    def problem(kind: str, text: str, *, grave: bool = True) -> Problem:
        return Problem(kind, state.name, group.name, text, grave)

    lag = group.main.lag
    for consumer in group.consumers:
        if not consumer.alive and consumer.holds:
            held = counted(consumer.holds, "entry", "entries")
            how = "left" if consumer.left else "is dead"
            yield problem("dead_consumer_holds", f"{consumer.name} {how} and holds {held}")
    if lag.entries + group.unfinished_retries and not any(consumer.alive for consumer in group.consumers):
        yield problem("no_consumer", "nobody reads: no consumer is alive")
    text = f"{at_least(lag.entries, lag.capped)} undelivered, the first for {age(lag.age)}"
    if trends.rising(state.name, group.name) and lag.age >= behind_after:
        yield problem("lag_rising", f"lag is rising: {text}")
    elif lag.age >= stuck_after and any(consumer.alive for consumer in group.consumers):
        yield problem("behind", text, grave=False)
    for progress in (group.main, group.retry):
        oldest = progress.oldest_pending if progress else None
        if oldest and oldest.age >= stuck_after:
            text = f"{oldest.entry_id} is unfinished after {age(oldest.age)}, attempt {oldest.attempts}"
            yield problem("stuck", f"{text}, on {oldest.consumer}")
