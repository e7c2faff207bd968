"""Whether lag rises or falls, from one look to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from eventcore.inspection import StreamState

_window = timedelta(seconds=30)
_least_samples = 3


class Trends:
    """Remembers the lag of every group over the last half minute."""

    def __init__(self) -> None:
        self._lags: dict[tuple[str, str], deque[tuple[datetime, int]]] = {}

    def observe(self, states: Sequence[StreamState]) -> None:
        """Take note of one look at all streams."""
        self._lags = {
            (state.name, group.name): self._with(state, group.name, group.main.lag.entries)
            for state in states
            for group in state.groups
        }

    def _with(self, state: StreamState, group: str, lag: int) -> deque[tuple[datetime, int]]:
        samples = self._lags.get((state.name, group), deque())
        samples.append((state.at, lag))
        while samples[0][0] < state.at - _window:
            samples.popleft()
        return samples

    def rate(self, stream: str, group: str) -> float:
        """Entries a second by which the lag grows (or, below zero, shrinks); 0 until there is something to compare."""
        samples = self._lags.get((stream, group), deque[tuple[datetime, int]]())
        if len(samples) < _least_samples:
            return 0.0
        (began, first), (ended, last) = samples[0], samples[-1]
        seconds = (ended - began).total_seconds()
        return (last - first) / seconds if seconds > 0 else 0.0

    def rising(self, stream: str, group: str) -> bool:
        """Whether the lag has grown, and goes on growing: no look of the last three found less than the one before."""
        lags = [lag for _, lag in list(self._lags.get((stream, group), ()))[-_least_samples:]]
        return len(lags) == _least_samples and lags == sorted(lags) and lags[0] < lags[-1]
