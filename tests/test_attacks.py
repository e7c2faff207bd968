"""Strangers take what they can get: a service stays within its memory, and answers others meanwhile."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import pytest

from eventcore.testing import Server, available_kinds
from tests.e2e.replica import Replica

MOST_MIB = 128
PAGES = b"GET /orders?limit=700 HTTP/1.1\r\nHost: x\r\n\r\n" * 20
POST = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PACKED = POST + b"Content-Encoding: gzip\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
LARGE = {"items": [{"productId": f"{n:03d}" + "\N{MUSICAL SYMBOL G CLEF}" * 60, "quantity": 1} for n in range(100)]}
SMALL = {"items": [{"productId": "11", "quantity": 1}]}


def withheld(size: int) -> bytes:
    """An order but for its last byte."""
    return POST + b"Content-Length: %d\r\n\r\n" % size + b" " * (size - 1)


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    """An order service with large orders, and small ones after them, by which nobody can tell how large others are."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(kind=available_kinds()[0], directory=tmp_path / "redis"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        running = Replica("order", "order-1", "today", {"REDIS_URL": server.url}, tmp_path)
        stack.push_async_callback(running.retire)
        await running.ready(session)
        for order in [LARGE] * 300 + [SMALL] * 30:
            async with session.post(f"{running.url}/orders", json=order) as answer:
                assert answer.status == 202
        yield running


@pytest.fixture
def many_files() -> None:
    """As many sockets as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))


async def attack(replica: Replica, sent: bytes) -> None:
    """A client who sends this and reads nothing; another takes its place when it is thrown out."""
    loop, port = asyncio.get_running_loop(), int(replica.url.rpartition(":")[2])
    while True:
        with socket.socket() as client, suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, sent)
            while True:
                await asyncio.sleep(1)
                await loop.sock_sendall(client, b" ")
        await asyncio.sleep(0.1)


def most_mib(replica: Replica) -> float:
    """The most memory that it has ever had."""
    status = Path(f"/proc/{replica.child.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize(
    ("count", "sent"),
    [(50, PAGES), (1000, withheld(16 * 1024)), (500, withheld(256 * 1024)), (1000, POST), (50, PACKED)],
    ids=["unread pages", "small bodies", "large bodies", "headers", "packed bodies"],
)
async def test_memory_is_bounded_and_others_are_served(replica: Replica, count: int, sent: bytes) -> None:
    attackers = [asyncio.create_task(attack(replica, sent)) for _ in range(count)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        for _ in range(30):
            async with session.get(f"{replica.url}/livez") as answer:
                assert answer.status == 200
            async with session.post(f"{replica.url}/orders", json=SMALL) as answer:
                assert answer.status == 202
            await asyncio.sleep(0.1)
    for each in attackers:
        each.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)
    assert most_mib(replica) < MOST_MIB
