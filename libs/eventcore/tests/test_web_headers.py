"""Headers and trailers take a bounded part of the memory, also where they come from many clients and never end."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from .test_web_run import Program, program

LONG = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8000) for number in range(100))
START = b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
ATTACKS = {
    "headers that do not end": START + LONG,
    "headers that end, and a body that does not come": START + LONG + b"Content-Length: 9\r\n\r\n{",
    "trailers that do not end": CHUNKED + b"1\r\n{\r\n0\r\n" + LONG,
    "a body of chunks, and trailers": CHUNKED + b"1\r\n \r\n" * 5_000 + b"0\r\n" + LONG,
}


async def answer(running: Program, request: bytes) -> bytes:
    """What is answered until the end of the connection; nothing where it was reset with bytes on their way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        with suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 45)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def most_memory(running: Program) -> float:
    """The most that the program has had so far, in MiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


@pytest.mark.parametrize("request_", ATTACKS.values(), ids=ATTACKS)
async def test_headers_and_trailers_of_many_take_little_memory(tmp_path: Path, request_: bytes) -> None:
    async with program(tmp_path, REDIS_URL="redis://127.0.0.1:1") as running:
        await running.until_status("/livez", 200)
        before = most_memory(running)
        answers = await asyncio.gather(*(answer(running, request_) for _ in range(100)))
        assert {each[:12] for each in answers} <= {b"", b"HTTP/1.1 431"}
        assert most_memory(running) - before < 40  # it was 80 and more
        await running.until_status("/livez", 200)
        _, lines = await running.end(signal.SIGTERM)
        assert "could not answer" not in str(lines)


async def test_a_body_in_small_chunks_is_no_header(tmp_path: Path) -> None:
    body = b"".join(b"1\r\n%c\r\n" % each for each in b" " * 20_000 + b"{}") + b"0\r\nX-Trailer: a\r\n\r\n"
    async with program(tmp_path, REDIS_URL="redis://127.0.0.1:1") as running:
        await running.until_status("/livez", 200)
        closing = CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: close")
        answered = await answer(running, closing + body)
        assert answered[9:12] not in {b"431", b"400", b"", b"408"}
        await running.end(signal.SIGTERM)


async def test_headers_may_take_nearly_32_kib_together(tmp_path: Path) -> None:
    async with program(tmp_path, REDIS_URL="redis://127.0.0.1:1") as running:
        await running.until_status("/livez", 200)
        long = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8000) for number in range(4))
        assert b" 200 " in await answer(
            running, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + long + b"\r\n"
        )
        await running.end(signal.SIGTERM)


async def test_a_body_that_comes_at_once_is_no_header(tmp_path: Path) -> None:
    request = START.replace(b"Host: x", b"Host: x\r\nConnection: close") + b"Content-Length: 1000000\r\n\r\n"
    async with program(tmp_path, REDIS_URL="redis://127.0.0.1:1") as running:
        await running.until_status("/livez", 200)
        for _ in range(20):
            answered = await answer(running, request + b" " * 1_000_000)
            assert answered[9:12] not in {b"431", b"400", b"", b"408"}
        await running.end(signal.SIGTERM)
