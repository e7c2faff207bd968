"""Clients that take their time or too much memory: each limit is met by one, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from eventcore.telemetry.measurements import clients_limited
from eventcore.testing import until
from eventcore.web import Api, clients, create_service, listener
from eventcore.web.clients import CLIENTS, SMALL_BODY, Clients
from eventcore.web.door import Door
from eventcore.web.listener import Connection, take_port
from eventcore.web.request import LARGE_BODY, MOST_VALUES

from .test_web import NOWHERE

PUT = b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LARGEST = 1024 * 1024


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LOOK_EVERY", timedelta(seconds=0.05))


def echo_api() -> Api:
    """An endpoint that takes large bodies, and one with a large answer."""
    api = Api()

    @api.put("/echo", body=Any, answers={200: dict}, max_body=LARGEST)
    async def echo(request: web.Request, body: Any) -> dict[str, Any]:
        """Say that a body has come."""
        return {"came": True}

    @api.get("/long", answers={200: dict})
    async def long(request: web.Request) -> dict[str, str]:
        """Answer much."""
        return {"text": "x" * LARGEST}

    return api


@asynccontextmanager
async def listening(
    *, most_of_one: int = 0, api: Api | None = None, **limits: Any
) -> AsyncIterator[tuple[int, Clients]]:
    """A service on a port of its own, as `run` serves it."""
    settings = NOWHERE.model_copy(update=limits)
    runner = web.AppRunner(create_service(settings, name="echo", api=api or echo_api()), shutdown_timeout=0.1)
    await runner.setup()
    with take_port("127.0.0.1", 0) as port:
        door = Door(port, runner, room=lambda: 100, most_of_one=most_of_one)
        address = port.getsockname()[1]
        door.open()
        try:
            yield address, runner.app[CLIENTS]
        finally:
            door.close()
            await runner.cleanup()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, which may be closed already."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def answer_to(port: int, sent: bytes, *, dribble: bytes = b"") -> bytes:
    """What a client reads until the connection is closed, who sends this and then, again and again, `dribble`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    received = bytearray()

    async def receive() -> None:
        with suppress(ConnectionError):  # what it sent last may meet a closed connection
            while some := await reader.read(65536):
                received.extend(some)

    receiving = asyncio.create_task(receive())
    while not receiving.done():
        await asyncio.wait([receiving], timeout=0.1)
        writer.write(dribble)
    await hang_up(writer)
    return bytes(received)


def limited(limit: str) -> float:
    """How often the limit has been met."""
    return clients_limited.cells[limit,]


@pytest.mark.parametrize(
    ("sent", "dribble"),
    [
        (b"GET /liv", b""),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b""),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
    ],
    ids=["half a line", "headers that stop", "headers that dribble"],
)
async def test_headers_must_come_in_time(sent: bytes, dribble: bytes) -> None:
    before = limited("header_time")
    async with listening(http_header_seconds=0.5) as (port, _):
        answer = await answer_to(port, sent, dribble=dribble)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert limited("header_time") == before + 1


@pytest.mark.parametrize(
    ("sent", "dribble"),
    [
        (PUT + b"Content-Length: 100\r\n\r\n", b""),
        (PUT + b"Content-Length: 1000\r\n\r\n", b" "),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["a body that never comes", "a body that dribbles", "chunks without end"],
)
async def test_a_body_must_come_in_time(sent: bytes, dribble: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LINGERING_SECONDS", 0.2)
    before = limited("body_time")
    async with listening(http_body_seconds=0.5) as (port, _):
        answer = await answer_to(port, sent, dribble=dribble)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert limited("body_time") == before + 1


async def test_a_body_that_keeps_a_pace_may_take_longer() -> None:
    async with listening(http_body_seconds=0.5) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pieces = 8
        writer.write(PUT + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (pieces * SMALL_BODY))
        began = time.monotonic()
        for number in range(pieces):
            writer.write(b"1" if number == 0 else b"")
            writer.write(b" " * (SMALL_BODY - (number == 0)))
            await writer.drain()
            await until(lambda due=began + (number + 1) / 5: time.monotonic() > due)  # type: ignore[misc]
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        await hang_up(writer)
    assert time.monotonic() - began > 2 * 0.5


async def test_a_request_that_comes_with_the_end_of_a_body_which_held_up_reading_is_answered() -> None:
    head = b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % LARGEST
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with listening() as (port, clients):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection: Any = await until(lambda: next(iter(clients.connected), None))
        # In one piece, as no kernel promises to hand it over.
        connection.data_received(head + b'"' + b"x" * (LARGEST - 2) + b'"' + last)
        assert (await reader.read()).count(b"HTTP/1.1 200") == 2
        await hang_up(writer)


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with listening(http_idle_seconds=0.5) as (port, clients):
        assert await answer_to(port, b"") == b""
        await until(lambda: not clients.connected)


async def withheld(port: int, count: int, size: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Clients who send all of a body but its last byte, one after the other."""
    clients = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PUT + b"Content-Length: %d\r\n\r\n" % size + b" " * (size - 1))
        await writer.drain()
        clients.append((reader, writer))
    return clients


async def test_large_bodies_take_a_bounded_memory_in_all() -> None:
    before = limited("body_memory")
    async with listening(http_memory_bytes=LARGEST, http_body_seconds=20) as (port, _):
        clients = await withheld(port, 2, LARGEST * 2 // 3)
        refused, _ = await asyncio.wait(
            [asyncio.create_task(reader.readline()) for reader, _ in clients], return_when=asyncio.FIRST_COMPLETED
        )
        assert [each.result()[:13] for each in refused] == [b"HTTP/1.1 503 "]
        assert limited("body_memory") == before + 1
        for _, writer in clients:
            await hang_up(writer)


@pytest.mark.parametrize("size", [SMALL_BODY, LARGEST * 2 // 3])
async def test_a_small_body_takes_the_place_of_the_oldest_where_memory_is_used_up(size: int) -> None:
    before = limited("body_memory")
    count = 3 * LARGEST // 2 // size
    async with listening(http_memory_bytes=LARGEST, http_body_seconds=20) as (port, service):
        clients = await withheld(port, count, size)
        await until(lambda: limited("body_memory") > before)
        reader, writer = (await withheld(port, 1, SMALL_BODY))[0]
        await until(lambda: len(service.connected) == count + 1)
        writer.write(b"1")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        if size == SMALL_BODY:
            assert (await clients[0][0].readline()).startswith(b"HTTP/1.1 503 ")
        for _, other in [*clients, (reader, writer)]:
            await hang_up(other)


async def test_large_bodies_are_worked_on_one_after_the_other() -> None:
    at_once: list[int] = []
    api, begun, go_on = Api(), asyncio.Event(), asyncio.Event()

    @api.put("/slow", body=Any, answers={200: dict}, max_body=LARGEST)
    async def slow(request: web.Request, body: Any) -> dict[str, Any]:
        """Take a while."""
        at_once.append(len(at_once))
        begun.set()
        await go_on.wait()
        return {}

    body = b" " * (LARGE_BODY + SMALL_BODY) + b"{}"
    sent = b"PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    async with listening(api=api) as (port, clients):
        asked = [
            asyncio.create_task(answer_to(port, sent + b"Content-Length: %d\r\n\r\n" % len(body) + body))
            for _ in range(2)
        ]
        await begun.wait()
        await until(lambda: any(clients.large_bodies._waiters or ()))
        assert len(at_once) == 1
        go_on.set()
        assert all(b" 200 " in answer for answer in await asyncio.gather(*asked))


@pytest.mark.parametrize("body", [b"[" + b"{}," * MOST_VALUES + b"{}]", b"[" + b"1," * MOST_VALUES + b"1]"])
async def test_a_body_of_too_many_values_is_refused_before_it_becomes_objects(body: bytes) -> None:
    before = limited("body_values")
    async with listening() as (port, _):
        answer = await answer_to(port, PUT + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert limited("body_values") == before + 1


async def test_what_stands_within_texts_is_no_value() -> None:
    body = b'["' + b"{,[" * MOST_VALUES + b'\\"' + b"," * MOST_VALUES + b'"]'
    async with listening() as (port, _):
        answer = await answer_to(port, PUT + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def unread_answers(port: int, count: int) -> list[asyncio.StreamWriter]:
    """Clients who ask for long answers and never read."""
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        writers.append(writer)
    return writers


@pytest.mark.parametrize(
    ("limits", "limit"),
    [({"http_unread_seconds": 0.5}, "unread_time"), ({"http_memory_bytes": 100_000}, "unread_memory")],
    ids=["for too long", "too much in all"],
)
async def test_who_does_not_read_answers_is_cut_off(limits: dict[str, Any], limit: str) -> None:
    before = limited(limit)
    async with listening(**limits) as (port, clients):
        writers = await unread_answers(port, 4)
        await until(lambda: limited(limit) > before)
        await until(lambda: sum(each.unread for each in clients.connected) <= 2 * LARGEST)
        for writer in writers:
            await hang_up(writer)


async def test_no_further_request_is_worked_on_while_answers_are_unread() -> None:
    async with listening() as (port, clients):
        writers = await unread_answers(port, 1)
        await until(lambda: any(each.unread_since for each in clients.connected))
        assert sum(each.unread for each in clients.connected) < 3 * LARGEST
        for writer in writers:
            await hang_up(writer)


async def test_who_hangs_up_leaves_no_requests_behind() -> None:
    async with listening() as (port, clients):
        gc.collect()  # what other tests have left
        gc.disable()
        try:
            [writer] = await unread_answers(port, 1)
            await until(lambda: any(each.unread_since for each in clients.connected))
            writer.transport.abort()
            await until(lambda: not clients.connected)
            await until(lambda: not any(isinstance(each, Connection) for each in gc.get_objects()))
        finally:
            gc.enable()


async def test_an_address_holds_so_many_connections_and_gets_another_for_one_that_ends() -> None:
    before, ask = limited("address_connections"), b"GET /livez HTTP/1.0\r\n\r\n"
    async with listening(most_of_one=2) as (port, clients):
        held = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        await until(lambda: len(clients.connected) == 2)
        refused = await answer_to(port, ask)
        assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 1\r\n" in refused
        assert limited("address_connections") == before + 1
        other = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        other[1].write(ask)
        assert b" 200 OK" in await other[0].read()
        await hang_up(other[1])
        await hang_up(held[0])
        await until(lambda: len(clients.connected) == 1)
        assert b" 200 OK" in await answer_to(port, ask)
        await hang_up(held[1])


async def test_by_default_an_address_holds_any_number_of_connections() -> None:
    async with listening() as (port, clients):
        held = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(90)]
        await until(lambda: len(clients.connected) == len(held))
        for writer in held:
            await hang_up(writer)
