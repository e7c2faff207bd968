"""Listening: on all addresses, and never with the last file descriptor."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis

from eventcore.testing import Server, available_kinds, until

from .test_web_run import PROGRAM, Program, messages, program

FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
ENDPOINTS = PROGRAM.replace(
    "def create(",
    '''
@api.get("/busy", answers={200: None})
async def busy(request: web.Request) -> None:
    """Answer when this process is about to end."""
    await request.app[STORE].redis.incr("busy")
    while not request.app[SERVICE].draining:
        await asyncio.sleep(0.01)

@api.post("/exhaust", answers={202: None})
async def exhaust(request: web.Request) -> None:
    """Leave nobody a file descriptor for a while."""
    taken: list[int] = []
    try:
        while True:
            taken.append(os.dup(2))
    except OSError:
        asyncio.get_running_loop().call_later(2, lambda: [os.close(each) for each in taken])

def create(''',
)

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for the programs; of which kind does not matter to them."""
    with Server(kind=available_kinds()[0]) as running:
        yield running


def reaches(host: str, running: Program) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, running.port), timeout=5).close()
    except OSError:
        return False
    return True


async def answer_to(running: Program, request: bytes) -> bytes:
    """What a connection of its own is answered, until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    with closing(writer):
        writer.write(request)
        return await reader.read()


@needs_ipv6
async def test_without_a_host_it_listens_on_both_families(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/livez", 200)
        assert reaches("::1", running)
        assert reaches("127.0.0.1", running)
        _, lines = await running.end(signal.SIGTERM)
    assert f"notes-service serves on port {running.port} of all addresses" in messages(lines)


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "other", "said"),
    [("0.0.0.0", "::1", "0.0.0.0:{}"), ("::1", "127.0.0.1", "[::1]:{}")],  # noqa: S104 - the other address of all
)
async def test_a_host_is_taken_by_its_word(tmp_path: Path, server: Server, host: str, other: str, said: str) -> None:
    async with program(tmp_path, REDIS_URL=server.url, HOST=host) as running:
        assert f"serves on {said.format(running.port)}" in await running.until_said("serves on")
        assert reaches(host, running)
        assert not reaches(other, running)


async def test_strangers_who_hold_connections_keep_nobody_out(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, source=FEW_FILES + PROGRAM, REDIS_URL=server.url) as running:
        await running.until_status("/readyz", 200)
        with ExitStack() as strangers, redis.Redis.from_url(server.url) as operator:
            for _ in range(100):
                strangers.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            assert "idle ones are closed for new ones" in await running.until_said("connections are open")
            kill: Any = operator.client_kill_filter
            kill(_type="normal", skipme=True)
            await running.until_said("lost the connection to Redis")
            await running.until_status("/readyz", 200)
            assert b" 200 OK" in await answer_to(running, b"GET /livez HTTP/1.0\r\n\r\n")


@pytest.mark.skipif(sys.platform != "linux", reason="nobody else can change the limits of a running process")
async def test_a_limit_of_open_files_that_is_lowered_under_way_is_noticed(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/readyz", 200)
        files = Path(f"/proc/{running.process.pid}/fd")
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (50, 50))
        with ExitStack() as strangers:
            for _ in range(100):
                strangers.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            assert "no more can be accepted" in await running.until_said("connections are open")
            await until(lambda: len([*files.iterdir()]) <= 45, what="some are kept back for Redis")


async def test_where_all_connections_are_busy_a_new_one_is_answered_503(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, source=ENDPOINTS, REDIS_URL=server.url, MAX_CONNECTIONS="3") as running:
        await running.until_said("serves on")
        with redis.Redis.from_url(server.url) as operator:
            operator.delete("busy")
            busy = [asyncio.create_task(answer_to(running, b"GET /busy HTTP/1.0\r\n\r\n")) for _ in range(3)]
            await until(lambda: operator.get("busy") == b"3")
        refused = await answer_to(running, b"GET /livez HTTP/1.0\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in refused
        assert len(refused.partition(b"\r\n\r\n")[2]) == int(refused.partition(b"Content-Length: ")[2].split()[0])
        status, lines = await running.end(signal.SIGTERM)
        assert status == 0
        assert all(b" 200 OK" in answer for answer in await asyncio.gather(*busy))
    assert any("3 connections are open and busy" in message for message in messages(lines))


async def test_without_a_file_descriptor_it_says_so_and_accepts_again_once_there_are_some(
    tmp_path: Path, server: Server
) -> None:
    async with program(tmp_path, source=FEW_FILES + ENDPOINTS, REDIS_URL=server.url) as running:
        await running.until_status("/livez", 200)
        assert await running.post("/exhaust") == 202
        waiting = asyncio.create_task(answer_to(running, b"GET /livez HTTP/1.0\r\n\r\n"))
        assert "no more can be accepted (Too many open files)" in await running.until_said("connections are open")
        assert b" 200 OK" in await waiting
