"""The proxy carries everything, or nothing in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.proxy import Proxy


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy in front of a server that sends back each line."""
    writers: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = await Proxy("127.0.0.1", server.sockets[0].getsockname()[1]).start()
    yield proxy
    await proxy.stop()
    server.close()
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("before", [b"before\n", b""], ids=["a connection made before", "one made during the cut"])
async def test_what_is_sent_through_a_cut_arrives_when_it_is_mended(proxy: Proxy, before: bytes) -> None:
    if not before:
        proxy.cut()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    if before:
        writer.write(before)
        assert await reader.readline() == before
        proxy.cut()
    writer.write(b"through the cut\n")
    answer = asyncio.create_task(reader.readline())
    done, _ = await asyncio.wait([answer], timeout=0.1)
    assert not done
    proxy.mend()
    assert await answer == b"through the cut\n"
    writer.close()


async def test_the_end_of_one_side_is_the_end_of_the_other(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello\n")
    await reader.readline()
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
