"""The three programs as processes on one server: one order's way through all of them, and their orderly end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError, ClientSession
from redis.asyncio import Redis

from eventcore.testing import Server, until
from libs.contracts.tests.calling import patience

# Starting three interpreters takes its time on a busy machine.
pytestmark = pytest.mark.timeout(4 * patience)

PROGRAMS = ("order_service", "inventory_service", "notification_service")
PREFIX = "{shop}:"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


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


@pytest_asyncio.fixture
async def shop(server: Server) -> AsyncIterator[Shop]:
    """All programs on one server, ready, with a key prefix as for a Cluster slot."""
    with ExitStack() as stack:
        processes = {}
        for program, port in zip(PROGRAMS, free_ports(3), strict=True):
            variables = {"REDIS_URL": server.url, "KEY_PREFIX": PREFIX, "HOST": "127.0.0.1", "PORT": str(port)}
            process = stack.enter_context(started(program, LOG_LEVEL="ERROR", **variables))
            processes[program.partition("_")[0]] = process, port
        async with ClientSession() as session:
            shop = Shop(session, processes)
            await until(shop.ready, timeout=2 * patience, what="all programs are ready")
            yield shop


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


async def test_an_order_goes_through_all_programs_and_they_end_in_order(shop: Shop, server: Server) -> None:
    assert (await shop.ask("inventory", "PUT", "/stock/11", json={"available": 39}))[0] == 200
    order = {"items": [{"productId": "11", "quantity": 12}], "customerId": "VINET", "email": "a@b.c"}
    status, accepted = await shop.ask("order", "POST", "/orders", json=order)
    assert status == 202

    async def found() -> Any:
        _, order = await shop.ask("order", "GET", f"/orders/{accepted['id']}")
        _, told = await shop.ask("notification", "GET", f"/notifications?orderId={accepted['id']}")
        return order if order["status"] == "confirmed" and told["notifications"] else None

    confirmed: Any = await until(found, timeout=patience)
    assert (await shop.ask("inventory", "GET", "/stock/11"))[1] == {"productId": "11", "available": 27, "reserved": 12}

    client: Any = Redis.from_url(server.url)  # its own hints are unions that no caller can use
    async with client as redis:
        keys = [key.decode() async for key in redis.scan_iter()]
        assert all(key.startswith(PREFIX) for key in keys)
        [(_, fields)] = await redis.xrange(f"{PREFIX}inventory_stream")
        assert json.loads(fields[b"event"])["metadata"]["correlationId"] == confirmed["correlationId"]

        for process, _ in shop.processes.values():
            process.send_signal(signal.SIGTERM)
        for process, _ in shop.processes.values():
            _, errors = process.communicate(timeout=2 * patience)
            assert (process.returncode, errors) == (0, b"")
        for stream in ("orders_stream", "inventory_stream"):
            groups = await redis.xinfo_groups(f"{PREFIX}{stream}")
            assert {(group["consumers"], group["pending"], group["lag"]) for group in groups} == {(0, 0, 0)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_setting_ends_the_program_with_one_line_that_names_it(program: str) -> None:
    with started(program, PORT="x") as process:
        output, errors = process.communicate(timeout=2 * patience)
    assert process.returncode != 0
    [line] = errors.decode().splitlines()
    assert line.startswith("PORT: ")
    assert output == b""
