"""What the replicas count themselves, added up over all that ever lived; what a killed one last said is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

_HANDLED = "messaging_process_duration_seconds_count"
_RETRIES = "eventcore_retries_total"


@dataclass(slots=True)
class Counters:
    """The latest figures by replica. A name that starts again from nothing (a restarted container) adds to the old."""

    _latest: dict[str, dict[str, float]] = field(default_factory=dict)
    _before: dict[str, dict[str, float]] = field(default_factory=dict)
    """What was counted before a restart; negative for what is not to count."""

    def begin(self) -> None:
        """Count from here: what has been noted so far is somebody else's."""
        self._before = {name: {figure: -value for figure, value in each.items()} for name, each in self._latest.items()}

    def note(self, replica: str, metrics: str) -> None:
        """Take in what a replica's `/metrics` says now."""
        now, last = read(metrics), self._latest.get(replica, {})
        if any(now.get(figure, 0.0) < value for figure, value in last.items()):
            before = self._before.setdefault(replica, {})
            for figure, value in last.items():
                before[figure] = before.get(figure, 0.0) + value
        self._latest[replica] = now

    def of(self, replica: str, figure: str) -> int:
        """One replica's figure."""
        latest, before = self._latest.get(replica, {}), self._before.get(replica, {})
        return round(latest.get(figure, 0.0) + before.get(figure, 0.0))

    def total(self, figure: str) -> int:
        """The same, of all replicas."""
        return sum(self.of(replica, figure) for replica in self._latest)


def read(metrics: str) -> dict[str, float]:
    """The figures in a Prometheus text.

    `handled`: deliveries done; `fenced`: deliveries that came too late, somebody else had committed them;
    `redelivered`: attempts beyond the first.
    """
    found = {"handled": 0.0, "fenced": 0.0, "redelivered": 0.0}
    for line in metrics.splitlines():
        if not (match := _LINE.match(line)):
            continue
        labels = dict(_LABEL.findall(match["labels"] or ""))
        value = float(match["value"])
        if match["name"] == _RETRIES:
            found["redelivered"] += value
        elif match["name"] == _HANDLED:
            outcome = labels.get("eventcore_outcome")
            if outcome == "handled":
                found["handled"] += value
            elif outcome == "duplicate":
                found["fenced"] += value
    return found
