"""One replica of a service as a process: started, asked, signalled, and its end remembered."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp

from demo.ports import free_port
from demo.processes import Child

from .asking import Answer, NoAnswer
from .driver import Broken, Exit, Version

HOST = "127.0.0.1"
# What remains of the chart's grace period of 30 s once its preStop hook has slept for 5.
GRACE_SECONDS = 25.0
_READY_WITHIN = 40.0
_GLANCE = 0.02
_NEXT_VERSION = Path(__file__).parent / "next_version"


class Replica:
    """A service process with nothing in its environment but what it is told; it dies with us."""

    def __init__(
        self,
        service: str,
        name: str,
        version: Version,
        settings: dict[str, str],
        directory: Path,
        *,
        address: tuple[str, int] | None = None,
    ) -> None:
        self.service, self.name, self.version = service, name, version
        self.under_way = 0
        self._settings, self._log, self._address = settings, directory / f"{name}.log", address
        self.url, self.child = self._launch()

    def _launch(self) -> tuple[str, Child]:
        at, port = self._address or (HOST, free_port())
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "LOG_FORMAT": "json",
            "HOST": at,
            "PORT": str(port),
            "POD_NAME": self.name,
            **self._settings,
        }
        if self.version != "today":
            environment |= {"PYTHONPATH": str(_NEXT_VERSION), "E2E_VERSION": self.version}
        return f"http://{at}:{port}", Child(self.name, f"{self.service}_service", environment, self._log)

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    @property
    def _listens(self) -> bool:
        """Whether it has got its port: otherwise it is somebody else who answers there."""
        return f"serves on {self.url.removeprefix('http://')}" in self.log

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Return once it says that it is ready. Raises `Broken` with the end of its log."""
        deadline = time.monotonic() + _READY_WITHIN
        said = "nothing"
        while time.monotonic() < deadline:
            try:
                answer = await self.ask(session, "/readyz")
                if answer.status == 200 and self._listens:
                    return
                said = f"{answer.status} {answer.content}"
            except NoAnswer as error:
                said = str(error)
            if not self.child.lives:
                if "can't listen" not in self.log.splitlines()[-1]:
                    raise Broken(self.child.obituary())
                self.url, self.child = self._launch()  # somebody else was quicker to take the port
            await asyncio.sleep(_GLANCE)
        raise Broken(f"{self.name} is not ready after {_READY_WITHIN:g} s: {said}\n{self.child.obituary()}")

    async def ask(self, session: aiohttp.ClientSession, path: str) -> Answer:
        """Ask this one, at its management port where it has one. Raises `NoAnswer`."""
        address, _, port = self.url.rpartition(":")
        return await send(session, "GET", f"{address}:{self._settings.get('MANAGEMENT_PORT', port)}{path}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; harmless when it has ended."""
        if self.child.lives:
            os.kill(self.child.pid, number)

    async def retire(self) -> Exit:
        """Ask it to end once no request is under way to it, and wait for that; kill it where it doesn't."""
        while self.under_way and self.child.lives:  # noqa: ASYNC110 - as below
            await asyncio.sleep(_GLANCE)
        began = time.monotonic()
        self.child.terminate()
        while self.child.lives and time.monotonic() - began < GRACE_SECONDS:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(_GLANCE)
        in_time = not self.child.lives
        self.child.kill()
        return Exit(self.name, self.child.status, round(time.monotonic() - began, 3), in_time)


async def send(
    session: aiohttp.ClientSession, method: str, url: str, *, json: object = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request; its answer. Raises `NoAnswer`."""
    try:
        async with session.request(method, url, json=json, headers=headers) as response:
            is_json = "json" in response.headers.get("Content-Type", "")
            content = await response.json(content_type=None) if is_json else await response.text()
            return Answer(response.status, content, {name.lower(): value for name, value in response.headers.items()})
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error


def critical_lines(replica: Replica) -> list[str]:
    """What a replica has logged that no disturbance excuses."""
    return [
        f"{replica.name} says: {line[:500]}"
        for line in replica.log.splitlines()
        if '"level": "CRITICAL"' in line or line.startswith(("Traceback", "Error in sitecustomize"))
    ]
