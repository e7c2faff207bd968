"""Dead letters for people: a table of many, and everything of one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence

from rich.text import Text

from eventcore.consume.delivery import entry_time
from eventcore.operate.dead_letters import Letter
from eventcore.operate.entries import parsed

from .output import Output, clean
from .words import moment

_BATCH = 100
# From here on there is room for a letter on one line.
_WIDE = 190
_COLUMNS = ("ID", "WHEN", "GROUP", "REASON", "ATTEMPTS", "TYPE", "EVENT ID", "ERROR")


async def show_table(output: Output, letters: AsyncIterator[Letter]) -> int:
    """Print a table as the letters come in; how many there were. Its columns are as wide as the first letters need."""
    shown, widths = 0, [0] * len(_COLUMNS)
    rows: list[Sequence[str]] = []
    async for letter in letters:
        rows.append(_row(letter, full=output.width >= _WIDE))
        if len(rows) == _BATCH:
            shown, widths, rows = _print(output, rows, shown, widths), _widths(rows, widths), []
    return _print(output, rows, shown, widths)


def _print(output: Output, rows: list[Sequence[str]], shown: int, widths: list[int]) -> int:
    widths = _widths(rows, widths)
    if rows and not shown:
        for text in _lines(_COLUMNS, widths, output.width, heading=True):
            output.line(text)
    for row in rows:
        for text in _lines(row, widths, output.width):
            output.line(text)
    return shown + len(rows)


def _row(letter: Letter, *, full: bool) -> Sequence[str]:
    facts = letter.facts
    failed_at = facts.get("failedAt") or moment(entry_time(letter.id))
    error = ": ".join(part for part in (facts.get("errorType"), facts.get("error")) if part)
    return (
        letter.id,
        failed_at if full else failed_at[5:19].replace("T", " "),
        *(clean(facts.get(name) or "-") for name in ("group", "reason", "attempts", "type", "eventId")),
        clean(error or "-"),
    )


def _widths(rows: Iterable[Sequence[str]], least: Sequence[int]) -> list[int]:
    return [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)] if not any(least) else list(least)


def _lines(row: Sequence[str], widths: Sequence[int], width: int, *, heading: bool = False) -> Iterable[Text]:
    """A letter on one line, or on three where there is less room."""
    cells = [
        Text(f"{value:<{size}}  ", style) for value, size, style in zip(row, widths, _styles(heading), strict=True)
    ]
    if width >= _WIDE:
        yield _stripped(*cells)
        return
    yield _stripped(*cells[:4])
    yield _stripped(Text("  "), cells[5], cells[6], cells[4])
    yield _stripped(Text("  "), cells[7])


def _stripped(*cells: Text) -> Text:
    line = Text.assemble(*cells)
    line.rstrip()
    return line


def _styles(heading: bool) -> Sequence[str]:
    return ["bold"] * len(_COLUMNS) if heading else ("cyan", "", "bold", "red", "", "", "dim", "")


def show_letter(output: Output, letter: Letter) -> None:
    """Print everything of a letter: its facts, the raw event and the traceback."""
    output.line(Text.assemble(("dead letter ", "bold"), (letter.id, "bold cyan")))
    for name, value in letter.facts.items():
        if value and name not in ("traceback", "fields"):
            lines = f"\n{' ' * 17}".join(map(clean, value.splitlines()))
            output.show(Text.assemble("  ", (f"{name:<15}", "dim"), (lines, "red" if name == "error" else "")))
    _section(output, "event", pretty(letter))
    if trace := letter.facts.get("traceback"):
        _section(output, "traceback", clean(trace.rstrip(), keep="\n"))
    output.show(Text())


def _section(output: Output, title: str, body: str) -> None:
    output.show(Text(f"  {title}", "dim"))
    output.show(Text("\n".join(f"    {each}" for each in body.split("\n"))))


def pretty(letter: Letter) -> str:
    """The raw event, laid out where it is JSON; of an entry that had none, what stood there instead."""
    raw = letter.event if letter.event is not None else letter.facts.get("fields", "").encode()
    content = parsed(raw)
    if content is None:
        return clean(raw.decode("utf-8", "replace"), keep="\n") or "none"
    return clean(json.dumps(content, indent=2, ensure_ascii=False), keep="\n")
