"""`eventcore pending`: what groups have not finished with, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from eventcore.operate.unfinished import Unfinished, unfinished

from .complaints import ToolFailure
from .options import Json, Stream
from .output import clean
from .tool import Tool
from .words import age, counted

OfGroup = Annotated[str | None, typer.Option("--group", "-g", metavar="GROUP", help="Only this group's.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="No more than so many; --json writes all.")]


async def pending(tool: Tool, stream: Stream, group: OfGroup = None, limit: Limit = 100, as_json: Json = False) -> None:
    """List what groups were given and have not finished with: pending on a consumer, or put aside.

    With attempt, age, when it is tried again and what it failed with, as far as Redis knows: of what is pending, its
    consumer alone knows when, and what failed since it last came.
    """
    name = await tool.stream(stream)
    groups = sorted(await tool.inspector.groups(name))
    if group is not None and group not in groups:
        raise ToolFailure(f"{group} does not read {name}")
    found = _of(tool, name, groups if group is None else [group])
    if as_json:
        rows = (each.as_json() async for each in found)
        await tool.output.document_of({"stream": name, "group": group}, "deliveries", rows)
        return
    shown = [each async for each in _first(found, limit + 1)]
    if not shown:
        tool.output.note(f"nothing of {name} is pending or aside")
        return
    tool.output.show(_table(shown[:limit]))
    if len(shown) > limit:
        tool.output.note(f"these are the first {counted(limit, 'delivery', 'deliveries')}; -n shows more, --json all")


async def _of(tool: Tool, stream: str, groups: Sequence[str]) -> AsyncIterator[Unfinished]:
    for group in groups:
        async for each in unfinished(tool.inspector, stream, group):
            yield each


async def _first(found: AsyncIterator[Unfinished], count: int) -> AsyncIterator[Unfinished]:
    async for each in found:
        yield each
        count -= 1
        if not count:
            return


def _table(rows: Sequence[Unfinished]) -> Table:
    table = Table(
        "GROUP", "ENTRY", "STATE", "ATTEMPTS", "AGE", "NEXT IN", "CONSUMER", "ERROR", box=None, pad_edge=False
    )
    for each in rows:
        table.add_row(
            clean(each.group), clean(each.entry_id), each.state, f"{each.attempts:,}", _age(each.age_seconds),
            _age(each.next_in_seconds), clean(each.consumer or "-"), clean(each.error or "-"),
        )  # fmt: skip
    return table


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else age(timedelta(seconds=seconds))
