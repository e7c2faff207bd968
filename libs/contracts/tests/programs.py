"""Starting the programs of the shop as processes, and asking them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.e2e.asking import SERVICES
from tests.e2e.replica import Replica


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
    """The running services by name."""

    def __init__(self, session: ClientSession, replicas: dict[str, Replica]) -> None:
        self.session, self.replicas = session, replicas

    async def ask(self, name: str, method: str, path: str, **request: Any) -> tuple[int, Any]:
        """Status and body of the answer."""
        async with self.session.request(method, f"{self.replicas[name].url}{path}", **request) as response:
            return response.status, await response.json(content_type=None)


@asynccontextmanager
async def running_shop(
    redis_url: str, directory: Path, services: Sequence[str] = SERVICES, **variables: str
) -> AsyncIterator[Shop]:
    """These services on one server, ready, with their logs in the directory."""
    told = {"REDIS_URL": redis_url, **variables}
    async with ClientSession() as session:
        replicas = {name: Replica(name, name, "today", told, directory) for name in services}
        try:
            await asyncio.gather(*(replica.ready(session) for replica in replicas.values()))
            yield Shop(session, replicas)
        finally:
            for replica in replicas.values():
                replica.child.kill()
