"""The endpoints of a Service, as Kubernetes keeps them: replicas whose readiness probe has not failed too often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Self

import yaml

from .asking import Answer, NoAnswer

_VALUES = Path(__file__).parents[2] / "deploy/helm/ecommerce/values.yaml"


class Probe(NamedTuple):
    """A readiness probe: how often, how long, and how many failures in a row are too many."""

    period: float
    timeout: float
    failures: int

    @classmethod
    def of_the_chart(cls) -> Self:
        """The one that services have by default."""
        found = yaml.safe_load(_VALUES.read_text(encoding="utf-8"))["defaults"]["probes"]["readiness"]
        return cls(found["periodSeconds"], found["timeoutSeconds"], found["failureThreshold"])


class Endpoints:
    """Which of the replicas that were ready once have stayed so, or have not failed for long enough."""

    def __init__(self, ask: Callable[[str, str], Awaitable[Answer]], probe: Probe) -> None:
        self._ask, self._probe = ask, probe
        self._failures: Counter[str] = Counter()

    def have(self, replica: str) -> bool:
        """Whether requests are sent to it."""
        return self._failures[replica] < self._probe.failures

    async def watch(self, replicas: Callable[[], Iterable[str]]) -> None:
        """Probe all of them again and again, until cancelled."""
        while True:
            await asyncio.gather(*map(self._probe_one, replicas()))
            await asyncio.sleep(self._probe.period)

    async def _probe_one(self, replica: str) -> None:
        try:
            async with asyncio.timeout(self._probe.timeout):
                ready = (await self._ask(replica, "/readyz")).status == 200
        except (NoAnswer, TimeoutError):
            ready = False
        self._failures[replica] = 0 if ready else self._failures[replica] + 1
