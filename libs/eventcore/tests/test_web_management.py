"""A port for management: probes, metrics and documents are there alone, whatever happens at the API's."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from eventcore.testing import Server, available_kinds, until

from .test_web_listening import ENDPOINTS, FEW_FILES, answer_to
from .test_web_run import PROGRAM, Program, free_port, messages, program

MANAGED = ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for the programs; of which kind does not matter to them."""
    with Server(kind=available_kinds()[0]) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client of that server, which is empty."""
    with redis.Redis.from_url(server.url) as connected:
        connected.flushall()
        yield connected


async def management_of(running: Program, port: str) -> Program:
    """The same process, asked at its management port; it is ready."""
    managed = Program(running.process, running.session, int(port))
    await managed.until_status("/readyz", 200)
    return managed


async def test_probes_and_documents_are_at_the_management_port_alone(tmp_path: Path, server: Server) -> None:
    port = str(free_port())
    async with program(tmp_path, REDIS_URL=server.url, MANAGEMENT_PORT=port) as running:
        managed = await management_of(running, port)
        assert [await managed.status(path) for path in MANAGED] == [200] * len(MANAGED)
        assert [await running.status(path) for path in MANAGED] == [404] * len(MANAGED)
        assert await running.post("/notes/hello") == 202
        assert await managed.post("/notes/hello") == 404
        status, lines = await running.end(signal.SIGTERM)
    assert status == 0
    assert messages(lines)[-1] == "stopped"
    assert f"probes and metrics are on port {port}" in messages(lines)


async def test_the_document_is_of_what_the_port_of_the_api_serves(tmp_path: Path, server: Server) -> None:
    port = str(free_port())
    async with program(tmp_path, REDIS_URL=server.url, MANAGEMENT_PORT=port) as running:
        managed = await management_of(running, port)
        async with managed.session.get(managed.url + "/openapi.json") as answer:
            assert set((await answer.json())["paths"]) == {"/notes/{text}", "/slow"}


async def test_without_a_management_port_one_port_serves_all(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/readyz", 200)
        assert [await running.status(path) for path in MANAGED] == [200] * len(MANAGED)


async def test_probes_are_answered_while_all_connections_of_the_api_are_busy(
    tmp_path: Path, server: Server, client: Any
) -> None:
    environment = {"REDIS_URL": server.url, "MANAGEMENT_PORT": str(free_port()), "MAX_CONNECTIONS": "3"}
    async with program(tmp_path, source=ENDPOINTS, **environment) as running:
        managed = await management_of(running, environment["MANAGEMENT_PORT"])
        busy = [asyncio.create_task(answer_to(running, b"GET /busy HTTP/1.0\r\n\r\n")) for _ in range(3)]
        await until(lambda: client.get("busy") == b"3")
        refused = await answer_to(running, b"GET /busy HTTP/1.0\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert [await managed.status(path) for path in MANAGED] == [200] * len(MANAGED)
        assert (await running.end(signal.SIGTERM))[0] == 0
        await asyncio.gather(*busy)


async def test_strangers_at_the_api_leave_file_descriptors_for_probes(tmp_path: Path, server: Server) -> None:
    port = str(free_port())
    environment = {"REDIS_URL": server.url, "MANAGEMENT_PORT": port}
    async with program(tmp_path, source=FEW_FILES + PROGRAM, **environment) as running:
        managed = await management_of(running, port)
        with ExitStack() as strangers:
            for _ in range(100):
                strangers.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            await running.until_said("there is no room for more")
            probing = [answer_to(managed, b"GET /livez HTTP/1.0\r\n\r\n") for _ in range(8)]
            assert all(b" 200 OK" in answer for answer in await asyncio.gather(*probing))
        _, lines = await running.end(signal.SIGTERM)
    assert not any("no more can be accepted" in line for line in messages(lines))


async def test_strangers_at_the_management_port_keep_probes_from_nothing(tmp_path: Path, server: Server) -> None:
    port = str(free_port())
    async with program(tmp_path, REDIS_URL=server.url, MANAGEMENT_PORT=port) as running:
        managed = await management_of(running, port)
        with ExitStack() as strangers:
            for _ in range(100):
                strangers.enter_context(socket.create_connection(("127.0.0.1", managed.port)))
            assert "closed for new ones (at the management port)" in await running.until_said("connections are open")
            assert b" 200 OK" in await answer_to(managed, b"GET /livez HTTP/1.0\r\n\r\n")


async def test_probes_are_answered_until_the_last_request_is(tmp_path: Path, server: Server, client: Any) -> None:
    port = str(free_port())
    source = PROGRAM.replace(
        'return {"said": "goodbye"}',
        'await request.app[STORE].redis.blpop("go-on", 4)\n    return {"said": "goodbye"}',
    )
    async with program(tmp_path, source=source, REDIS_URL=server.url, MANAGEMENT_PORT=port) as running:
        managed = await management_of(running, port)
        asked = asyncio.create_task(running.session.get(running.url + "/slow"))
        await until(lambda: client.exists("asked"))
        running.process.send_signal(signal.SIGTERM)
        await running.until_status("/nothing", 0)  # the API's port is closed
        assert await managed.status("/livez") == 200
        async with managed.session.get(managed.url + "/readyz") as answer:
            assert (answer.status, (await answer.json())["detail"]) == (503, "draining")
        client.rpush("go-on", "now")
        assert (await asked).status == 200
        status, lines = await running.end()
    assert (status, json.loads(lines[-1])["message"]) == (0, "stopped")


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "the API's"])
async def test_a_management_port_that_can_not_be_is_one_line(tmp_path: Path, server: Server, taken: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        environment = {"HOST": "127.0.0.1", "MANAGEMENT_PORT": port} | ({} if taken else {"PORT": port})
        async with program(tmp_path, REDIS_URL=server.url, **environment) as running:
            status, lines = await running.end()
    said = f"HOST, MANAGEMENT_PORT: can't listen on 127.0.0.1:{port}: Address already in use"
    assert (status, lines) == ((1, [said]) if taken else (2, ["MANAGEMENT_PORT must be another than PORT"]))
