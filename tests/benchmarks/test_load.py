"""The load generator sends what it is allowed to, counts every answer, and takes no failure for success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks import load
from eventcore.testing import until

COUNT = 200


@asynccontextmanager
async def serving(status: int = 202, body: str = "{}") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server's port, and the bodies that it has got."""
    received: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_post("/orders", answer)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port, received


async def test_every_request_is_sent_once_and_answered() -> None:
    answers: dict[int, bytes] = {}
    async with serving(body="x" * 5000) as (port, received):
        client = load.Client(load.order_requests(COUNT), answers.__setitem__)
        await client.connect(port, connections=7)
        assert await client.as_fast_as_possible() > 0
        client.close()
    assert sorted(received) == sorted(load.order_body(number) for number in range(COUNT))
    assert answers == dict.fromkeys(range(COUNT), b"x" * 5000)
    assert len(client.latencies) == COUNT


async def test_at_a_rate_no_request_is_sent_before_it_is_due() -> None:
    async with serving() as (port, _):
        client = load.Client(load.order_requests(50))
        await client.connect(port)
        assert await client.at_rate(500) >= 49 / 500
        client.close()
    assert min(client.latencies) > 0


async def test_no_more_are_sent_than_are_allowed() -> None:
    async with serving() as (port, received):
        client = load.Client(load.order_requests(10))
        await client.connect(port)
        client.allow(3)
        await until(lambda: client.answered == 3)
        assert (client.sent, len(received)) == (3, 3)
        client.allow(10)
        await client.wait()
        client.close()
    assert len(received) == 10


async def test_an_answer_that_is_no_success_ends_it() -> None:
    async with serving(status=503, body="full") as (port, _):
        client = load.Client(load.order_requests(COUNT))
        await client.connect(port)
        with pytest.raises(ConnectionError, match="answered 503: b'full'"):
            await client.as_fast_as_possible()
        client.close()


async def test_a_connection_closed_instead_of_an_answer_ends_it() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    client = load.Client(load.order_requests(1))
    await client.connect(server.sockets[0].getsockname()[1], connections=1)
    with pytest.raises(ConnectionError, match="closed a connection instead of answering"):
        await client.as_fast_as_possible()
    server.close()
    await server.wait_closed()
