"""The steps of a trace as a timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from rich.console import Group
from rich.text import Text

from eventcore.operate.dead_letters import Letter
from eventcore.operate.following import GroupProgress, TraceStep
from eventcore.operate.inspection.ids import milliseconds, parse_id

from .output import clean
from .words import age, clock, counted, moment

_MARGIN = " " * 23
_MARKS = {
    "done": ("✓", "green"),
    "waiting": ("…", "yellow"),
    "pending": ("↻", "yellow"),
    "aside": ("…", "yellow"),
    "dead_lettered": ("✗", "red"),
    "handed_on": ("→", "yellow"),
}


def timeline(steps: Sequence[TraceStep]) -> Group:
    """What happened, when, and how long after what came before; where each group is with it."""
    lines = [_summary(steps), Text()]
    before: int | None = None
    for step in steps:
        at = parse_id(step.entry.id)[0]
        since = "" if before is None else f"+{_span(at - before)}"
        start = Text.assemble((f"{clock(step.entry.time):<12}", "bold"), (f"  {since:>7}  ", "dim"))
        lines += _letter(start, step.letter) if step.letter else _event(start, step)
        before = at
    return Group(*lines)


def _summary(steps: Sequence[TraceStep]) -> Text:
    entries = [step.entry for step in steps]
    letters = sum(step.letter is not None for step in steps)
    span = parse_id(entries[-1].id)[0] - parse_id(entries[0].id)[0]
    facts = [
        moment(entries[0].time)[:10],
        counted(len(steps) - letters, "event"),
        *([counted(letters, "dead letter")] if letters else []),
        f"{_span(span)} from first to last",
    ]
    lines = [f"{'correlation':<12} {clean(each)}" for each in _distinct(entry.correlation_id for entry in entries)]
    lines += [f"{'about':<12} {clean(each)}" for each in _distinct(entry.key for entry in entries)]
    return Text("\n".join([*lines, " · ".join(facts)]))


def _distinct(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _event(start: Text, step: TraceStep) -> list[Text]:
    entry, envelope = step.entry, step.entry.envelope
    if envelope is None:
        title = Text.assemble(start, ("undecodable", "bold red"), f" {clean(entry.error or '')}")
    else:
        source = f" from {clean(envelope.metadata.source)}" if envelope.metadata.source else ""
        title = Text.assemble(start, (clean(envelope.type), "bold"), f" {envelope.version}", (source, "dim"))
    place = Text.assemble(_MARGIN, (f"{clean(entry.stream)} {entry.id}", "cyan"))
    return [title, place, *map(_delivery, step.deliveries)]


def _delivery(each: GroupProgress) -> Text:
    mark, style = _MARKS[each.state]
    state = each.state.replace("_", "-")
    if each.state == "pending":
        idle = f" for {age(each.idle)}" if each.idle is not None else ""
        state = f"pending on {clean(each.consumer or '?')}{idle}, attempt {each.attempts}"
    if each.state == "aside":
        why = f", failed with {clean(each.error)}" if each.error else ""
        due = each.due or timedelta(0)
        when = f"in {age(due)}" if due >= timedelta(0) else f"due for {age(-due)}"
        state = f"waiting, put aside after attempt {each.attempts}, the next {when}{why}"
    if each.state == "handed_on":
        state = "handed on to the retry stream"
    return Text.assemble(_MARGIN, (mark, style), f" {clean(each.group)}: ", (state, "" if mark == "✓" else style))


def _letter(start: Text, letter: Letter) -> list[Text]:
    facts = {name: clean(value) for name, value in letter.facts.items()}
    error = ": ".join(part for part in (facts.get("errorType"), facts.get("error")) if part)
    attempts = f" at attempt {facts['attempts']}" if facts.get("attempts") else ""
    return [
        Text.assemble(start, ("dead letter", "bold red"), f" of {facts.get('group') or '?'}"),
        Text.assemble(_MARGIN, (facts.get("reason", "?"), "red"), attempts),
        Text.assemble(_MARGIN, error),
        Text.assemble(_MARGIN, (f"eventcore dlq show {clean(letter.stream)} --id {letter.id}", "dim")),
    ]


def _span(count: int) -> str:
    return f"{count}ms" if count < 1000 else age(milliseconds(count))
