"""`eventcore forget`: take out what Redis holds of a customer, and say what stays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from eventcore.events.personal_data import ENTRY_POINTS, Person, declared
from eventcore.operate.forgetting import Findings, Forgetting

from .complaints import ToolFailure
from .options import DryRun, Json, Yes
from .output import clean
from .tool import Tool

Customer = Annotated[str | None, typer.Option("--customer", metavar="ID", help="Who has this customer id.")]
Email = Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Who has this mail address.")]


async def forget(
    tool: Tool,
    customer: Customer = None,
    email: Email = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget a customer: take who they are out of records, dead letters and the entries that all groups have finished.

    It says what it has found where, and what it has left and why; exit status 1 where something is left: ask again
    later. What stands outside of Redis' present data (backups, logs, traces, mails) is not touched: see
    docs/personal-data.md.
    """
    if not customer and not email:
        raise typer.BadParameter("say who: --customer ID or --email ADDRESS", param_hint="--customer")
    places = declared()
    if not places:
        raise ToolFailure(f"no installed package says where personal data stands (entry points {ENTRY_POINTS})")
    if not (yes or dry_run) and sys.stdin.isatty() and not tool.ask("Forget this customer for good?"):
        raise ToolFailure("nobody was forgotten")
    found = await Forgetting(tool.inspector, places, Person.of(customer, email), change=not dry_run).run()
    looked_at = [records.keys for each in places for records in each.records]
    if as_json:
        rows = [each.as_json() for each in found]
        tool.output.document({"dryRun": dry_run, "records": looked_at, "found": rows, "left": _left(found)})
    else:
        _show(tool, found, dry_run=dry_run)
        tool.output.note(f"looked at all streams, dead letters, and at {', '.join(looked_at)}; docs/personal-data.md")
    if _left(found):
        raise typer.Exit(1)


def _left(found: Sequence[Findings]) -> int:
    return sum(sum(each.left.values()) for each in found)


def _show(tool: Tool, found: Sequence[Findings], *, dry_run: bool) -> None:
    if not found:
        tool.output.say("nothing of this customer was found")
        return
    table = Table("place", "found", *(() if dry_run else ("masked", "removed")), "left", box=None, pad_edge=False)
    for each in found:
        left = "; ".join(f"{count:,} {why}" for why, count in each.left.items())
        done = () if dry_run else (f"{each.masked:,}", f"{each.removed:,}")
        table.add_row(clean(each.place), f"{each.found:,}", *done, left or "0")
    tool.output.show(table)
