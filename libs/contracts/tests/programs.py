"""Starting the programs of the shop as processes, and asking them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from aiohttp import ClientError, ClientSession

from demo.ports import free_port
from eventcore.testing import until
from libs.contracts.tests.calling import PATIENCE

PROGRAMS = ("order_service", "inventory_service", "notification_service")


@contextmanager
def started(program: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program, told this much and nothing else; killed at the end of the block if it still runs."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **variables}
    command = [sys.executable, "-m", program]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


class Shop:
    """The running programs, by the first word of their names."""

    def __init__(self, session: ClientSession, processes: dict[str, tuple[subprocess.Popen[bytes], int]]) -> None:
        self.session, self.processes = session, processes

    async def ask(self, name: str, method: str, path: str, **request: Any) -> tuple[int, Any]:
        """Status and body of the answer."""
        _, port = self.processes[name]
        async with self.session.request(method, f"http://127.0.0.1:{port}{path}", **request) as response:
            return response.status, await response.json(content_type=None)

    async def ready(self) -> Any:
        """Whether all of them say so."""
        try:
            return all([(await self.ask(name, "GET", "/readyz"))[0] == 200 for name in self.processes])
        except ClientError:
            return False


@asynccontextmanager
async def running_shop(redis_url: str, programs: Sequence[str] = PROGRAMS, **variables: str) -> AsyncIterator[Shop]:
    """These programs on one server, ready."""
    with ExitStack() as stack:
        processes = {}
        for program in programs:
            port = free_port()
            told = {"REDIS_URL": redis_url, "HOST": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "ERROR", **variables}
            processes[program.partition("_")[0]] = stack.enter_context(started(program, **told)), port
        async with ClientSession() as session:
            shop = Shop(session, processes)
            await until(shop.ready, timeout=2 * PATIENCE, what="all programs are ready")
            yield shop
