"""Showing a person what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from .checks import Check
from .evidence import Evidence
from .measures import Latency, Rates
from .orders import wanted
from .replay import Posted
from .story import Step

_SHOWN_PRODUCTS = 8
_SHOWN_PROBLEMS = 5
_COLOURS = {"confirmed": "green", "rejected": "yellow", "cancelled": "yellow", "processing": "red"}


def show_orders(console: Console, evidence: Evidence) -> None:
    """How many were confirmed and rejected, and why."""
    _heading(console, "Orders")
    counts = Counter(state.status for state in evidence.states)
    reasons = Counter(state.reason for state in evidence.states if state.reason)
    table = _table()
    for status, colour in _COLOURS.items():
        if counts[status] or status in ("confirmed", "rejected"):
            share = counts[status] / max(1, len(evidence.states))
            why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items()) if status == "rejected" else ""
            table.add_row(f"[{colour}]{status}[/]", f"{counts[status]:,}", f"{share:.1%}", f"[dim]{why}[/]")
    table.columns[1].justify = table.columns[2].justify = "right"
    _print(console, table)


def show_stock(console: Console, evidence: Evidence) -> None:
    """Totals, and the products that were wanted most."""
    _heading(console, "Stock", "before and after; what is reserved belongs to confirmed orders")
    before, after = evidence.workload.stock, evidence.stock
    asked = wanted(evidence.workload.orders)
    turned_away = Counter(
        shortage["productId"]
        for event in (event for events in evidence.outcomes.values() for event in events)
        for shortage in event.data.get("shortages", ())
    )
    table = _table("product", "ordered", "before", "available", "reserved", "orders turned away")
    for product, units in asked.most_common(_SHOWN_PRODUCTS):
        level = after.get(product)
        cells = (f"{level.available:,}", f"{level.reserved:,}") if level else ("-", "-")
        short = turned_away[product]
        table.add_row(
            escape(product),
            f"{units:,}",
            f"{before[product]:,}" if product in before else "unknown",
            *cells,
            f"[yellow]{short:,}[/]" if short else "[dim]-[/]",
        )
    table.add_section()
    available, held = sum(level.available for level in after.values()), sum(level.reserved for level in after.values())
    table.add_row(
        f"[bold]all {len(after):,}[/]",
        *(f"[bold]{number:,}[/]" for number in (sum(asked.values()), sum(before.values()), available, held)),
        "",
    )
    _print(console, table)


def show_streams(console: Console, evidence: Evidence) -> None:
    """Events by type, and the groups that consumed them."""
    _heading(console, "Events")
    table = _table("stream", "type", "events", left=2)
    for stream, events in evidence.events.items():
        for type, count in sorted(Counter(event.type for event in events).items()):
            table.add_row(f"[dim]{stream}[/]", type, f"{count:,}")
    _print(console, table)
    _heading(console, "Consumer groups")
    table = _table("stream", "group", "finished", "lag", "pending", "consumers", left=2)
    for group in evidence.snapshot.groups:
        table.add_row(
            f"[dim]{group.stream}[/]",
            group.name,
            f"{evidence.snapshot.done(group.stream, group.name):,}",
            _zero(group.lag),
            _zero(group.pending),
            f"{group.consumers}",
        )
    for stream, letters in evidence.dead_letters.items():
        table.add_row(f"[dim]{stream}[/]", "[dim]dead letters[/]", _zero(len(letters)), "", "", "")
    _print(console, table)


def show_speed(console: Console, rates: Rates, latencies: Sequence[Latency], connections: int) -> None:
    """Throughput and latency."""
    _heading(console, "Throughput")
    table = _table()
    for what, rate, then, seconds in (
        ("accepted", rates.accepted, "all answered", rates.posting_seconds),
        ("finished", rates.finished, "nothing pending", rates.total_seconds),
    ):
        table.add_row(what, f"{rate:,.0f} orders/s", f"[dim]{then} after {seconds:.1f} s[/]")
    table.columns[1].justify = "right"
    _print(console, table)
    at_once = "one" if connections == 1 else f"{connections}"
    _heading(console, "Latency", f"ms since just before the POST, {at_once} at a time, by this machine's clock")
    table = _table("until", "p50", "p99", "longest", "measured by")
    table.columns[4].justify = "left"
    for each in latencies:
        table.add_row(each.to, *(f"{ms:,.0f}" for ms in (each.p50, each.p99, each.longest)), f"[dim]{each.measured}[/]")
    _print(console, table)


def show_story(console: Console, order: Posted, steps: Sequence[Step]) -> None:
    """One order from its POST to its notification."""
    items = ", ".join(f"{item.quantity:,} of {item.product_id}" for item in order.order.items)
    _heading(console, "One order's story", f"order {order.order.name}: {items}")
    console.print(f"  id     [cyan]{order.order_id}[/]\n  trace  [cyan]{order.trace_id}[/]\n")
    table = _table("ms", "what", "where", left=3)
    table.columns[0].justify = "right"
    for step in steps:
        table.add_row(f"[dim]+[/]{step.after:,.0f}", escape(step.what), f"[dim]{escape(step.where)}[/]")
        if step.details:
            table.add_row("", "", f"[dim]{escape(step.details)}[/]")
    _print(console, table)


def show_checks(console: Console, checks: Iterable[Check]) -> None:
    """What was checked; what does not hold is named."""
    _heading(console, "Checks")
    table = _table()
    for check in checks:
        table.add_row("[green]✓[/]" if check.holds else "[red]✗[/]", check.claim, f"[dim]{escape(check.found)}[/]")
    table.columns[1].no_wrap = True
    _print(console, table)
    for check in checks:
        for problem in check.problems[:_SHOWN_PROBLEMS]:
            console.print(f"  [red]✗ {escape(check.claim)}:[/] {escape(problem)}", soft_wrap=True)
        if len(check.problems) > _SHOWN_PROBLEMS:
            console.print(f"    [red]… and {len(check.problems) - _SHOWN_PROBLEMS:,} more[/]")


def _heading(console: Console, text: str, note: str = "") -> None:
    console.print(f"\n[bold]{text}[/]" + (f"  [dim]{escape(note)}[/]" if note else ""))


def _table(*headings: str, left: int = 1) -> Table:
    """Columns without lines; the first `left` ones flush left, the others right, without headings all left.

    Where room is short, the last column gives way.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headings), header_style="dim")
    for number, heading in enumerate(headings):
        last = number == len(headings) - 1
        table.add_column(heading, justify="left" if number < left else "right", no_wrap=not last)
    return table


def _print(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _zero(number: int | None) -> str:
    return "[green]0[/]" if number == 0 else f"[red]{number if number is not None else '?'}[/]"
