"""The whole system as processes of its own: the embedded server and the services, started, watched and stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Never, TypeVar

import aiohttp
from redis.exceptions import RedisError

from eventcore.testing.server import Server, ServerNotRunning

from .options import SERVICES, Options
from .ports import HOST, free_port
from .processes import Child, how
from .tasks import end

T = TypeVar("T")

READY_WITHIN = 60.0
STOP_WITHIN = 25.0  # services finish what they have in hand; their own budget is 20 s
_GLANCE = 0.05

# What would lead a service to another Redis, other keys or another address than ours.
_OURS_TO_SAY = {"KEY_PREFIX", "HOST", "PORT", "POD_NAME"}
# A replay makes thousands of orders up: nobody is to get mail about them.
_CHANNELS = {"SMTP_URL", "WEBHOOK_URL", "WEBHOOK_SECRET"}


class SystemFailure(Exception):
    """The system can't start or has broken down; the message says why, log included."""


@dataclass
class Service:
    """One process of one service; `ready_after` counts from its start, in seconds."""

    kind: str
    child: Child
    port: int
    ready_after: float = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return self.child.name

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return f"http://{HOST}:{self.port}"


class System:
    """Embedded server and services, in a temporary directory with data and logs.

    `stop` removes that directory, unless it is told to keep it. Nothing outlives this process, even if it is killed.
    """

    def __init__(self, options: Options, ports: Mapping[str, int]) -> None:
        """Raises `SystemFailure` if there is no server to embed."""
        self._options, self._ports = options, ports
        self.services: list[Service] = []
        self.killed = False
        self.directory = Path(tempfile.mkdtemp(prefix="demo-"))
        try:
            self.server = Server(
                directory=self.directory / "redis",
                append_only=True,
                maxmemory="1gb",
                policy="noeviction",
                # DEBUG is for whoever tries what DEBUG SLEEP does to the system.
                options={"appendfsync": "everysec", "enable-debug-command": "local"},
            )
        except ServerNotRunning as error:
            self.directory.rmdir()
            raise SystemFailure(str(error)) from error

    def url(self, kind: str) -> str:
        """The address of a service (of the first process of it)."""
        return next(service.url for service in self.services if service.kind == kind)

    def start_server(self) -> None:
        """Raises `SystemFailure`."""
        try:
            self.server.start()
        except ServerNotRunning as error:
            raise SystemFailure(f"the embedded server does not start: {error}") from error

    async def start_services(self) -> None:
        """Start all of them and wait until each says that it is ready. Raises `SystemFailure`."""
        for kind in SERVICES:
            self.services.append(self._launch(kind, f"{kind} service", self._ports[kind]))
        for number in range(2, self._options.inventory_replicas + 1):
            taken = [service.port for service in self.services]
            self.services.append(self._launch("inventory", f"inventory service {number}", free_port(taken)))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            await self.guard(self._all_ready(session))

    async def _all_ready(self, session: aiohttp.ClientSession) -> None:
        # In a coroutine of its own: asyncio complains of a `gather` that is cancelled and not awaited to its end.
        await asyncio.gather(*(_ready(session, service) for service in self.services))

    async def guard(self, work: Awaitable[T]) -> T:
        """Await the work, but no longer than everything lives. Raises `SystemFailure` with the log of what died."""
        task = asyncio.ensure_future(work)
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
            if task.done() and isinstance(task.exception(), aiohttp.ClientError | RedisError | OSError):
                # Perhaps the other end has just died: its log says more than our broken connection.
                await asyncio.wait([watch], timeout=1)
            if watch.done():
                raise SystemFailure(watch.result())
            return task.result()
        finally:
            await end(task, watch)

    async def keep_up(self, say: Callable[[str], object]) -> Never:
        """Start again what dies, as a cluster would, and say so. Raises `SystemFailure` if the server can't be."""
        while True:
            if not self.server.running:
                say("the embedded server has died; it is started again on its data")
                try:
                    await asyncio.to_thread(self.server.restart)
                except ServerNotRunning as error:
                    raise SystemFailure(f"the embedded server does not start again: {error}") from error
            for place, service in enumerate(self.services):
                if service.child.status is not None:
                    say(f"{service.child.obituary()}\n    it is started again")
                    self.services[place] = self._launch(service.kind, service.name, service.port)
            await asyncio.sleep(_GLANCE)

    def kill(self) -> None:
        """End everything at once."""
        self.killed = True
        for service in self.services:
            service.child.kill()
        self.server.kill()

    async def stop(self, *, keep: bool) -> list[str]:
        """Let the services finish, then end them and the server; who did not end as it should, in words."""
        for service in self.services:
            service.child.terminate()
        children = [service.child for service in self.services]
        deadline = time.monotonic() + STOP_WITHIN
        while any(child.lives for child in children) and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(_GLANCE)
        problems = [f"the {child.name} {how(child.status)}" for child in children if child.status != 0]
        for child in children:
            child.kill()
        self.server.stop()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        return problems

    def _launch(self, kind: str, name: str, port: int) -> Service:
        environment = environment_for(self._options, self.server.url, port, name, os.environ)
        log = self.directory / f"{name.replace(' ', '-')}.log"
        return Service(kind, Child(name, f"{kind}_service", environment, log), port)

    async def _watch(self) -> str:
        """Return when something has died, with what is to be said about it."""
        while True:
            for service in self.services:
                if service.child.status is not None:
                    return service.child.obituary()
            if not self.server.running:
                log = "\n".join(f"    {line}" for line in self.server.log.splitlines()[-15:])
                return f"the embedded server has died; the end of its log:\n{log}"
            await asyncio.sleep(_GLANCE)


def environment_for(
    options: Options, redis_url: str, port: int, name: str, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What a service is told: all that we were told, except where it would lead it away from this system."""
    dropped = _OURS_TO_SAY | (_CHANNELS if options.replays else set())
    kept = {
        key: value
        for key, value in inherited.items()
        if not (key.upper() in dropped or key.upper().startswith("REDIS_"))
    }
    return {
        "LOG_FORMAT": "console",
        **kept,
        "REDIS_URL": redis_url,
        "HOST": HOST,
        "PORT": str(port),
        "POD_NAME": name.replace(" ", "-"),
        "PYTHONUNBUFFERED": "1",
    }


async def _ready(session: aiohttp.ClientSession, service: Service) -> None:
    began = time.monotonic()
    answer = "it does not answer"
    while time.monotonic() - began < READY_WITHIN:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"{service.url}/readyz") as response:
                if response.status == 200:
                    service.ready_after = time.monotonic() - began
                    return
                answer = f"{response.status} {(await response.text()).strip()}"
        await asyncio.sleep(_GLANCE)
    raise SystemFailure(
        f"the {service.name} is not ready after {READY_WITHIN:g} s: {answer}\n{service.child.obituary()}"
    )
