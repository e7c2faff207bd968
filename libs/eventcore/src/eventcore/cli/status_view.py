"""The state of streams for people: problems first, then each stream with its groups and consumers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from eventcore.operate.inspection import ConsumerState, GroupState, ServerState, StreamState
from eventcore.operate.trends import Trends

from .output import clean
from .problems import FoundProblem
from .words import age, at_least, clock, counted, rate, size

# Consumers that hold nothing and are listed one by one.
_SHOWN_CONSUMERS = 8
_COLUMNS = ("GROUP", "LAG", "BEHIND", "PENDING", "OLDEST", "DONE", "REDRIVEN", "LETTERS")
_WORDS = ("dead", "resting", "alive")
# What is left out first where there is little room.
_DISPENSABLE = ("REDRIVEN", "DONE", "LETTERS", "OLDEST")


def screen(
    place: str,
    server: ServerState | None,
    states: Sequence[StreamState],
    problems: Sequence[FoundProblem],
    trends: Trends,
    trouble: str | None,
) -> RenderableType:
    """Everything, in the order in which it matters; `trouble` says why this is not up to date."""
    at = f" at {clock(states[0].at)} UTC" if states else ""
    lines: list[RenderableType] = [Text.assemble((clean(place), "bold"), (at, "dim"))]
    if server:
        lines.append(Text(clean(" · ".join(_about(server))), "dim"))
    if trouble:
        lines.append(Text(f"{clean(trouble)}; this is how it was before", "bold white on red"))
    if not states and all(problem.stream is None for problem in problems):
        lines.append(Text("no streams yet"))
    elif not problems:
        lines.append(Text.assemble(("✓", "bold green"), (" no problems", "green")))
    if problems:
        lines.append(_problems(problems))
    for state in states:
        lines += [Text(), *_stream(state, trends)]
    return Group(*lines)


def _about(server: ServerState) -> Iterator[str]:
    yield server.version
    limit = f" of {size(server.memory_limit)}" if server.memory_limit else ""
    yield f"memory {size(server.memory)}{limit}"
    if server.append_only:
        yield "append-only"


class Fitted:
    """As much of something as there is room for on the screen, and a word about the rest."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._inner, options.update(height=None), pad=False)
        hidden = len(lines) - console.height
        if hidden > 0:
            lines = lines[: console.height - 1]
        for line in lines:
            yield from line
            yield Segment.line()
        if hidden > 0:
            yield Text(f"… {hidden + 1} more lines: name the streams to watch", "reverse", end="")


def _problems(problems: Sequence[FoundProblem]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for problem in problems:
        where = f"{problem.group} on {problem.stream}" if problem.group else problem.stream or "server"
        style = "red" if problem.grave else "yellow"
        words = Text.assemble((f"{clean(where)}: ", f"bold {style}"), (clean(problem.text), style))
        table.add_row(Text("!", f"bold {style}"), words)
    return table


def _stream(state: StreamState, trends: Trends) -> Iterator[RenderableType]:
    yield Text.assemble((clean(state.name), "bold cyan"), "  ", (" · ".join(_facts(state, trends)), "dim"))
    if state.groups:
        rows = [tuple(_group(state, group, trends)) for group in state.groups]
        yield _Groups(rows)
    for group in state.groups:
        heading = len(state.groups) > 1
        if heading:
            yield Text(f"  {clean(group.name)}", "dim")
        yield _indented(_consumers(group), 4)
        if group.aside.count:
            yield Text(f"    {counted(group.aside.count, 'delivery', 'deliveries')} put aside", "yellow")


def _indented(table: Table, columns: int) -> Padding:
    return Padding(table, (0, 0, 0, columns), expand=False)


class _Groups:
    """A table of groups that leaves out columns where there is no room for all."""

    def __init__(self, rows: Sequence[Sequence[Text]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(width=1_000)
        tables = [_indented(self._table(_DISPENSABLE[:count]), 2) for count in range(len(_DISPENSABLE) + 1)]
        fitting = (each for each in tables if console.measure(each, options=unlimited).maximum <= options.max_width)
        yield next(fitting, tables[-1])

    def _table(self, left_out: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for name in _COLUMNS:
            if name == "GROUP":
                table.add_column(name, overflow="ellipsis")  # may wrap, and so gives way to the numbers
            elif name not in left_out:
                table.add_column(name, justify="right", no_wrap=True)
        for row in self._rows:
            table.add_row(*(cell for name, cell in zip(_COLUMNS, row, strict=True) if name not in left_out))
        return table


def _facts(state: StreamState, trends: Trends) -> Iterator[str]:
    if not state.exists:
        yield "not there"
        return
    yield counted(state.length, "entry", "entries")
    if state.memory is not None:
        yield size(state.memory)
    if state.oldest_age is not None and state.newest_age is not None:
        yield f"oldest {age(state.oldest_age)}"
        yield f"newest {age(state.newest_age)}"
    if (added := trends.added(state.name)) is not None:
        yield f"in {rate(added)}"


def _group(state: StreamState, group: GroupState, trends: Trends) -> Iterator[Text]:
    lag, oldest = group.main.lag, group.main.oldest_pending
    letters = at_least(group.dead_letters, state.dead_letters.partial)
    done = trends.done(state.name, group.name)
    yield Text(clean(group.name), "bold")
    yield Text(
        at_least(lag.entries, lag.capped) + _arrow(trends.lag(state.name, group.name) or 0),
        _style(lag.entries, "yellow"),
    )
    yield Text(age(lag.age) if lag.entries else "-", _style(lag.entries, "yellow"))
    yield Text(f"{group.main.pending:,}")
    yield Text(age(oldest.age) if oldest else "-")
    yield Text("-" if done is None else rate(done))
    yield Text(f"{group.unfinished_retries:,}")
    yield Text(letters, _style(group.dead_letters, "red"))


def _style(number: int, style: str) -> str:
    return style if number else ""


def _arrow(change: float) -> str:
    return f" {'↑' if change > 0 else '↓'}{rate(abs(change))}" if abs(change) >= 0.05 else ""


def _consumers(group: GroupState) -> Table:
    """Who reads for a group: the dead first, then who holds most."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True, overflow="ellipsis")
    if not group.consumers:
        table.add_row(Text("no consumers", "yellow"))
    notable = sorted(group.consumers, key=lambda each: (each.alive, -each.holds, each.name))
    idle = {word: [each for each in notable if _word(each) == word and not each.holds] for word in _WORDS}
    for each in notable:
        if each not in idle[_word(each)][_SHOWN_CONSUMERS:]:
            table.add_row(*_consumer(each))
    for word in _WORDS:
        if hidden := len(idle[word][_SHOWN_CONSUMERS:]):
            table.add_row(Text(f"and {hidden:,} more, {word} and holding nothing", "dim"))
    return table


def _word(each: ConsumerState) -> str:
    return "alive" if each.alive else "resting" if each.resting else "dead"


def _consumer(each: ConsumerState) -> Iterator[Text]:
    dead = ("✗", "bold red" if each.holds else "dim")
    mark, style = ("●", "green") if each.alive else ("○", "dim") if each.resting else dead
    yield Text.assemble((mark, style), f" {clean(each.name)}")
    if each.left:
        yield Text("left", style)
    elif each.silent is not None:
        beat = f"heartbeat {age(each.silent)} ago"
        yield Text(beat if each.alive else f"dead, {beat}", "" if each.alive else style)
    elif each.last_beat is not None:
        yield Text("dead, heartbeat ahead of the clock", style)
    else:
        yield Text(f"no heartbeat, idle {age(each.idle)}", "dim" if each.alive else style)
    yield Text(f"holds {each.holds:,}" if each.holds else "", "" if each.alive else style)
