"""The progress bars: how far the orders are on each part of their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from .replay import Look, Replay
from .streams import INVENTORY_STREAM, ORDERS_STREAM, Snapshot

# An order's way, as bars and latencies name it.
STEPS = ("answered 202", "stock decided", "order final", "customer notified")


class _Rate(ProgressColumn):
    """How many a second, over the whole time."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        return Text(f"{task.completed / elapsed:,.0f}/s" if elapsed else "", style="dim")


def _bars(console: Console) -> Progress:
    columns = (
        TextColumn("  {task.description:<18}"),
        BarColumn(bar_width=40),
        TextColumn("{task.completed:>7,.0f} of {task.total:,.0f}"),
        _Rate(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, refresh_per_second=10)


@contextmanager
def replaying(console: Console, orders: int) -> Iterator[Look]:
    """Bars for an order's way through the services."""
    with _bars(console) as bars:
        tasks = [bars.add_task(name, total=orders) for name in STEPS]

        def look(run: Replay, snapshot: Snapshot) -> None:
            numbers = (
                len(run.posted) + len(run.refused),
                snapshot.done(ORDERS_STREAM, "inventory-group"),
                snapshot.done(INVENTORY_STREAM, "order-group"),
                snapshot.done(INVENTORY_STREAM, "notification-group"),
            )
            for task, number in zip(tasks, numbers, strict=True):
                bars.update(task, completed=number)

        yield look


@contextmanager
def asking(console: Console, orders: int) -> Iterator[Callable[[], None]]:
    """One bar for the questions asked afterwards; it advances whenever what it yields is called."""
    with _bars(console) as bars:
        task = bars.add_task("looked up", total=orders)
        yield lambda: bars.advance(task)
