"""The figures as sheets: headings and rows of text, for the terminal and for the document alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from . import figures
from .figures import Of, Run, Runs
from .goals import verdicts
from .plan import AT_REST, FLAT


class Sheet(NamedTuple):
    """A table; `left` of its columns hold words, the others figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 2


def sheets(runs: Runs) -> list[Sheet]:
    """All that have something to show; the goals come last."""
    special = {work for work in runs if work == AT_REST or work.startswith(FLAT)}
    made = [
        _throughput({work: runs[work] for work in runs if work not in special}),
        _flatness({work: runs[work] for work in runs if work.startswith(FLAT)}),
        _resting({work: runs[work] for work in runs if work == AT_REST}),
        goals(runs),
    ]
    return [sheet for sheet in made if sheet.rows]


def goals(runs: Runs) -> Sheet:
    """The goals, and whether this run met them."""
    rows = [(f"{v.number}. {v.goal}", v.wanted, v.measured, v.by_cpu, v.word) for v in verdicts(runs)]
    return Sheet("Goals", ("goal", "wanted", "measured", "by CPU", "verdict"), rows)


def _throughput(runs: Runs) -> Sheet:
    rows = []
    for work, by_whom in runs.items():
        first = next(iter(by_whom.values()))
        for number, (who, measured) in enumerate(by_whom.items()):
            compared = ["", ""]
            if number:
                compared = [_text(figures.ratio(first, measured, of), 2) for of in (figures.rate, figures.client)]
            latencies = [_text(latency) for latency in _latencies(measured)]
            rows.append(("" if number else work, who, *_rate(measured), *_costs(measured), *latencies, *compared))
    headings = ("work", "who", "a second", "spread", "CPU", "Redis", "p50", "p99", "rate ratio", "CPU ratio")
    title = (
        "Medians; CPU of contestant and Redis in ms for 1,000; latency in ms; ratio: the first's figure by this one's"
    )
    return Sheet(title, headings, rows)


def _rate(measured: Sequence[Run]) -> list[str]:
    rates = [figures.rate(run) for run in measured]
    if not rates:
        return ["", ""]
    return [f"{figures.median(measured, figures.rate):,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}"]


def _costs(measured: Sequence[Run]) -> list[str]:
    return [_text(figures.median(measured, of)) for of in (figures.client, figures.server)]


def _latencies(measured: Sequence[Run]) -> Iterator[float | None]:
    """Until the end of the saga, where it has one."""
    for percent in ("p50", "p99"):
        whole = figures.median(measured, figures.named(f"confirmed {percent}"))
        yield figures.median(measured, figures.named(percent)) if whole is None else whole


def _flatness(runs: Runs) -> Sheet:
    rows = []
    for work, by_size in runs.items():
        first = next(iter(by_size.values()))
        for number, (size, measured) in enumerate(by_size.items()):
            compared = _text(figures.ratio(measured, first, figures.both), 2) if number else ""
            rows.append(("" if number else work.removeprefix(FLAT), size, *_costs(measured), compared))
    title = "What one event costs (one line of an order, one delivery to a group), in µs of CPU"
    return Sheet(title, ("circumstance", "size", "CPU", "Redis", "both / first"), rows)


def _resting(runs: Runs) -> Sheet:
    columns: list[Of] = [figures.named(name) for name in ("ready", "start cpu", "percent", "megabytes")]
    rows = [
        (service, *(_text(figures.median(measured, of), 2) for of in columns))
        for by_service in runs.values()
        for service, measured in by_service.items()
    ]
    headings = ("service", "ready after s", "CPU of the start s", "CPU at rest %", "MB")
    return Sheet("Services with nothing to do", headings, rows, left=1)


def _text(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
