"""The services as programs of their own: started, killed, replaced."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from demo.ports import free_port
from demo.processes import Child
from eventcore.testing import until

HOST = "127.0.0.1"
_START_WITHIN = 30.0
_END_WITHIN = 10.0
_SERVICE_OF = {"order-group": "order", "inventory-group": "inventory", "notification-group": "notification"}


@dataclass(frozen=True)
class Pod:
    """One process of one service."""

    name: str
    service: str
    child: Child
    port: int

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return f"http://{HOST}:{self.port}"


class Pods:
    """All processes of the shop. The dead are replaced by new ones, under the old name or a new one."""

    def __init__(self, session: aiohttp.ClientSession, directory: Path, settings: Mapping[str, str]) -> None:
        self._session, self._directory = session, directory
        self._settings = {"PATH": os.environ["PATH"], "HOST": HOST, "LOG_FORMAT": "console", **settings}
        self._numbers = itertools.count(1)
        self._pods: dict[str, Pod] = {}

    def __getitem__(self, name: str) -> Pod:
        return self._pods[name]

    def start(self, service: str, name: str | None = None) -> Pod:
        """Start one, without waiting for it."""
        name = name or f"{service}-{next(self._numbers)}"
        port = free_port(pod.port for pod in self._pods.values())
        environment = {**self._settings, "PORT": str(port), "POD_NAME": name}
        child = Child(name, f"{service}_service", environment, self._directory / f"{name}.log")
        pod = self._pods[name] = Pod(name, service, child, port)
        return pod

    def living(self, service: str) -> list[Pod]:
        """Those that should be there, whether they are ready yet or not."""
        return [pod for pod in self._pods.values() if pod.service == service]

    def of_group(self, group: str) -> list[Pod]:
        """Those that consume as members of this group."""
        return self.living(_SERVICE_OF[group])

    def kill(self, name: str) -> Pod:
        """End one with SIGKILL."""
        pod = self._pods.pop(name)
        pod.child.kill()
        return pod

    async def end(self, name: str) -> int:
        """Wait until one that was told to end has ended; its exit status."""
        pod = self._pods.pop(name)
        try:
            await until(lambda: pod.child.status is not None, timeout=_END_WITHIN, what=f"{name} ends")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{pod.child.obituary()}") from None
        finally:
            pod.child.kill()
        assert pod.child.status is not None
        return pod.child.status

    async def ready(self, service: str | None = None) -> None:
        """Wait until all (of one service) can do their work."""
        chosen = [name for name, pod in self._pods.items() if service in (None, pod.service)]
        await asyncio.gather(*map(self._ready, chosen))

    async def _ready(self, name: str) -> None:
        async def is_ready() -> bool:
            pod = self._pods[name]
            said = pod.child.log.read_text(encoding="utf-8", errors="replace")
            if pod.child.status is not None:
                if "can't listen" not in said.splitlines()[-1]:
                    raise AssertionError(pod.child.obituary())
                self.start(pod.service, name)  # somebody else was quicker to take the port, and may answer there
                return False
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(f"{pod.url}/readyz") as response:
                    return response.status == 200 and f"serves on {HOST}:{pod.port}" in said
            return False

        await until(is_ready, timeout=_START_WITHIN, what=f"{name} is ready")

    def check(self) -> None:
        """Nobody ends by itself. Raises with the end of the log of whoever did."""
        for pod in self._pods.values():
            if pod.child.status is not None:
                raise AssertionError(pod.child.obituary())

    def kill_all(self) -> None:
        """End them all."""
        for name in list(self._pods):
            self.kill(name)
