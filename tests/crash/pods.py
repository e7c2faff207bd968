"""The services as programs of their own: started, killed, replaced."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from eventcore.testing import until
from tests.e2e.replica import Replica
from tests.e2e.streams import GROUP_OF

_END_WITHIN = 10.0
_SERVICE_OF = {group: service for service, (_, group) in GROUP_OF.items()}


class Pods:
    """All processes of the shop. The dead are replaced by new ones, under the old name or a new one."""

    def __init__(self, session: aiohttp.ClientSession, directory: Path, settings: Mapping[str, str]) -> None:
        self._session, self._directory, self._settings = session, directory, dict(settings)
        self._numbers = itertools.count(1)
        self._pods: dict[str, Replica] = {}

    def __getitem__(self, name: str) -> Replica:
        return self._pods[name]

    def start(self, service: str, name: str | None = None) -> None:
        """Start one, without waiting for it."""
        name = name or f"{service}-{next(self._numbers)}"
        self._pods[name] = Replica(service, name, "today", self._settings, self._directory)

    def living(self, service: str) -> list[Replica]:
        """Those that should be there, whether they are ready yet or not."""
        return [pod for pod in self._pods.values() if pod.service == service]

    def of_group(self, group: str) -> list[Replica]:
        """Those that consume as members of this group."""
        return self.living(_SERVICE_OF[group])

    def kill(self, name: str) -> Replica:
        """End one with SIGKILL."""
        pod = self._pods.pop(name)
        pod.child.kill()
        return pod

    async def end(self, name: str) -> int | None:
        """Wait until one that was told to end has ended; its exit status."""
        child = self._pods.pop(name).child
        try:
            await until(lambda: not child.lives, timeout=_END_WITHIN)
        except AssertionError:
            raise AssertionError(child.obituary()) from None
        finally:
            child.kill()
        return child.status

    async def ready(self) -> None:
        """Wait until all can do their work."""
        await asyncio.gather(*(pod.ready(self._session) for pod in self._pods.values()))

    def check(self) -> None:
        """Nobody ends by itself. Raises with the end of the log of whoever did."""
        for pod in self._pods.values():
            assert pod.child.lives, pod.child.obituary()

    def kill_all(self) -> None:
        """End them all."""
        for name in list(self._pods):
            self.kill(name)
