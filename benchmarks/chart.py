"""The figures as a picture: for each work one bar for each contestant, with its spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from . import figures, posting, saga, works
from .figures import Run, Runs

_SHOWN = (*works.WORKS, posting.WORK, saga.WORK)
_LEFT, _BARS, _RIGHT, _LINE, _HEAD = 250, 460, 190, 22, 34
_WIDTH = _LEFT + _BARS + _RIGHT
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .work { font-weight: 600 } .quiet { fill: #6e7781 }
.ours { fill: #1a7f37 } .peer { fill: #9fb3c8 } line { stroke: #57606a } rect.back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 } .ours { fill: #3fb950 } .peer { fill: #4a5a6b }
  line { stroke: #9198a1 } rect.back { fill: #0d1117 }
}
"""


def chart(runs: Runs, facts: Mapping[str, Any]) -> str:
    """An SVG; each work has a scale of its own."""
    parts: list[str] = []
    y = _HEAD
    for work in _SHOWN:
        if measured := {who: each for who, each in runs.get(work, {}).items() if each}:
            parts.append(_text(16, y, f"{work} (a second)", "work"))
            y += _LINE
            most = max(figures.rate(run) for each in measured.values() for run in each)
            for who, each in measured.items():
                parts += _bar(y, who, each, most)
                y += _LINE
            y += _LINE // 2
    told = f"medians and spread · {facts['cores']} cores · load {facts['load']} · Python {facts['python']}"
    parts.append(_text(16, y, f"{told} · {facts['server']}", "quiet"))
    height = y + _LINE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            "<title>What eventcore does in a second, beside its peers</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="back" width="{_WIDTH}" height="{height}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _bar(y: int, who: str, runs: Sequence[Run], most: float) -> list[str]:
    rates = sorted(figures.rate(run) for run in runs)
    middle = figures.median(runs, figures.rate) or 0
    lowest, longest, width = (_BARS * each / most for each in (rates[0], rates[-1], middle))
    kind = "ours" if who == "eventcore" else "peer"
    return [
        _text(_LEFT - 10, y, who, kind="", anchor="end"),
        f'<rect class="{kind}" x="{_LEFT}" y="{y - 12}" width="{max(width, 1):.1f}" height="15" rx="2"/>',
        f'<line x1="{_LEFT + lowest:.1f}" x2="{_LEFT + longest:.1f}" y1="{y - 4}" y2="{y - 4}"/>',
        _text(_LEFT + int(max(width, longest)) + 8, y, f"{middle:,.0f}", "quiet"),
    ]


def _text(x: int, y: int, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
