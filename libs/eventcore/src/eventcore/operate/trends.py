"""Whether it is getting better: how fast events come in, are finished, and wait, from one look to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .inspection import GroupState, StreamState

_WINDOW = timedelta(seconds=10)
_LEAST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Sample:
    """A group at one look: entries ever added to its stream, those it has not been given, those it has not finished."""

    at: datetime
    added: int
    lag: int
    unfinished: int

    @classmethod
    def of(cls, state: StreamState, group: GroupState) -> _Sample:
        lag = group.main.lag.entries
        return cls(state.at, state.entries_added, lag, lag + group.main.pending)


class Trends:
    """Remembers every group over the last ten seconds. Rates are a second's; `None` until there is enough to tell."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], deque[_Sample]] = {}

    def observe(self, states: Sequence[StreamState]) -> None:
        """Take note of one look at all streams."""
        self._samples = {
            (state.name, group.name): self._with(state, group) for state in states for group in state.groups
        }

    def _with(self, state: StreamState, group: GroupState) -> deque[_Sample]:
        samples = self._samples.get((state.name, group.name), deque())
        samples.append(_Sample.of(state, group))
        while len(samples) > _LEAST_SAMPLES and samples[0].at < state.at - _WINDOW:
            samples.popleft()
        return samples

    def lag(self, stream: str, group: str) -> float | None:
        """By how many entries the lag grows (or, below zero, shrinks)."""
        return self._rate(stream, group, lambda sample: sample.lag)

    def done(self, stream: str, group: str) -> float | None:
        """How many entries the group finishes."""
        rate = self._rate(stream, group, lambda sample: sample.added - sample.unfinished)
        return rate if rate is None else max(0.0, rate)

    def added(self, stream: str) -> float | None:
        """How many entries come in, as far as a group reads the stream."""
        rates = [self._rate(*key, lambda sample: sample.added) for key in self._samples if key[0] == stream]
        return next((rate for rate in rates if rate is not None), None)

    def _rate(self, stream: str, group: str, number: Callable[[_Sample], int]) -> float | None:
        samples = self._samples.get((stream, group), deque[_Sample]())
        if len(samples) < _LEAST_SAMPLES or samples[-1].at <= samples[0].at:
            return None
        return (number(samples[-1]) - number(samples[0])) / (samples[-1].at - samples[0].at).total_seconds()

    def rising(self, stream: str, group: str) -> bool:
        """Whether the lag has grown, and goes on growing: no look of the last three found less than the one before."""
        lags = [sample.lag for sample in list(self._samples.get((stream, group), ()))[-_LEAST_SAMPLES:]]
        return len(lags) == _LEAST_SAMPLES and lags == sorted(lags) and lags[0] < lags[-1]
