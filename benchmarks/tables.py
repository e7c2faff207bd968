"""The figures as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from . import figures
from .figures import Of, Run, Runs
from .goals import Verdict
from .plan import at_rest, flat


def tables(runs: Runs) -> Iterator[Table]:
    """All of them that have something to show."""
    special = {work for work in runs if work == at_rest or work.startswith(flat)}
    yield _throughput({work: runs[work] for work in runs if work not in special})
    yield _flatness({work: runs[work] for work in runs if work.startswith(flat)})
    yield _resting({work: runs[work] for work in runs if work == at_rest})


def _throughput(runs: Runs) -> Table:
    table = _table("work", "who", "a second", "spread", "CPU", "Redis", "p50", "p99", "first / this", "its CPU")
    table.title = "Medians. CPU of the contestant and of Redis in ms for 1,000; latency in ms"
    for work, by_whom in runs.items():
        first = next(iter(by_whom.values()))
        for number, (who, measured) in enumerate(by_whom.items()):
            compared = ["", ""]
            if number:
                compared = [_two(figures.ratio(first, measured, of)) for of in (figures.rate, figures.client)]
            latencies = [_one(median) for median in _latencies(measured)]
            table.add_row("" if number else work, who, *_rate(measured), *_costs(measured), *latencies, *compared)
        table.add_section()
    return table


def _rate(measured: Sequence[Run]) -> list[str]:
    rates = [figures.rate(run) for run in measured]
    if not rates:
        return ["", ""]
    return [f"{figures.median(measured, figures.rate):,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}"]


def _costs(measured: Sequence[Run]) -> list[str]:
    return [_one(figures.median(measured, of)) for of in (figures.client, figures.server)]


def _latencies(measured: Sequence[Run]) -> Iterator[float | None]:
    """Until the end of the saga, where it has one."""
    for percent in ("p50", "p99"):
        whole = figures.median(measured, figures.named(f"confirmed {percent}"))
        yield figures.median(measured, figures.named(percent)) if whole is None else whole


def _flatness(runs: Runs) -> Table:
    table = _table("circumstance", "size", "CPU", "Redis", "both / first")
    table.title = "What one event costs (one line of an order, one delivery to a group), in µs of CPU"
    for work, by_size in runs.items():
        first = next(iter(by_size.values()))
        for number, (size, measured) in enumerate(by_size.items()):
            compared = _two(figures.ratio(measured, first, figures.both)) if number else ""
            table.add_row("" if number else work.removeprefix(flat), size, *_costs(measured), compared)
        table.add_section()
    return table


def _resting(runs: Runs) -> Table:
    table = _table("service", "ready after s", "CPU of the start s", "CPU at rest %", "MB")
    table.title = "Services with nothing to do"
    columns: list[Of] = [figures.named(name) for name in ("ready", "start cpu", "percent", "megabytes")]
    for by_service in runs.values():
        for service, measured in by_service.items():
            table.add_row(service, *(_two(figures.median(measured, of)) for of in columns))
    return table


def goals(verdicts: Sequence[Verdict]) -> Table:
    """The goals, and whether this run met them."""
    table = Table(title="Goals", title_justify="left")
    for heading in ("", "goal", "wanted", "measured", ""):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    colours = {"met": "green", "not met": "red"}
    for each in verdicts:
        word = each.word
        table.add_row(each.number, each.goal, each.wanted, each.measured, word, style=colours.get(word, "dim"))
    return table


def _table(*headings: str) -> Table:
    table = Table(title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 or heading == "who" else "right", no_wrap=number > 0)
    return table


def _one(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
