"""Writes the table of all metrics in docs/metrics.md from their definitions; `scripts/render-manifests` does so."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from eventcore.telemetry import measurements
from eventcore.telemetry.instruments import Instrument
from scripts.chart_reference import ROOT, SERVICES

DOCUMENT = ROOT / "docs/metrics.md"
BEGIN, END = "<!-- from here on written by scripts/render-manifests -->\n", "<!-- up to here -->\n"

# What Prometheus's exporter makes of units.
UNITS = {"s": "_seconds", "By": "_bytes", "{command}/s": "_per_second"}
SUFFIXES = {"counter": "_total"}


def instruments() -> list[Instrument]:
    """All of them: eventcore's own, then those of the services."""
    modules = [measurements, *(importlib.import_module(f"{name}_service.domain.measures") for name in SERVICES)]
    return [each for module in modules for each in vars(module).values() if isinstance(each, Instrument)]


def prometheus_name(instrument: Instrument) -> str:
    """What it is called on `/metrics`; a histogram has `_bucket`, `_count` and `_sum` behind that."""
    name = re.sub(r"\W", "_", instrument.name)
    return name + UNITS.get(instrument.unit, "") + SUFFIXES.get(instrument.kind, "")


def table() -> str:
    """The rows, in the order of the definitions."""
    return "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    yield "| metric | on `/metrics` | kind | unit | attributes | meaning |"
    yield "|---|---|---|---|---|---|"
    for each in instruments():
        attributes = [f"`{name}`" for name in each.attributes] + [f"`{k}={v}`" for k, v in each.constant.items()]
        cells = (f"`{each.name}`", f"`{prometheus_name(each)}`", each.kind, f"`{each.unit}`" if each.unit else "")
        yield f"| {' | '.join((*cells, ', '.join(attributes), each.description))} |"


def generated() -> dict[Path, str]:
    """What the document ought to hold."""
    text = DOCUMENT.read_text(encoding="utf-8")
    between = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    return {DOCUMENT: between.sub(lambda _: table(), text)}
