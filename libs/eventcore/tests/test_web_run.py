"""A service as a process: it starts whatever is missing, ends in order, and says in one line why it can't."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis

from eventcore.testing import Server, available_kinds, until
from eventcore.web.run import REQUESTS_SECONDS, collect_now_and_then

SECONDS = 45.0

PROGRAM = '''
import asyncio, logging, os, time
from aiohttp import web
from eventcore import Event, Router, Settings, Store, Transaction
from eventcore.web import STORE, Api, create_service, run
from eventcore.web.service import SERVICE

class NotePut(Event, type="note.put", stream="notes_stream"):
    text: str

class NotesSettings(Settings):
    port: int = 1

api = Api()

@api.post("/notes/{text}", answers={202: None})
async def put_note(request: web.Request, text: str) -> None:
    """Put a note."""
    await request.app[STORE].publish(NotePut(text=text))

@api.get("/slow", answers={200: dict})
async def slow(request: web.Request) -> dict[str, str]:
    """Answer when this process is about to end."""
    await request.app[STORE].redis.set("asked", "yes")
    while not request.app[SERVICE].draining:
        await asyncio.sleep(0.01)
    return {"said": "goodbye"}

def create(settings: NotesSettings) -> web.Application:
    def routers(store: Store) -> list[Router]:
        router = Router(group="notes-group")

        @router.on(NotePut)
        async def handle(note: NotePut) -> Transaction:
            if note.text == "block":
                time.sleep(60)
            if note.text == "trouble":
                logging.warning("trouble for anna@example.com")
            while note.text == "stubborn":
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
            if note.text == "wait":
                await store.redis.blpop("go-on", 4)
            return Transaction()

        return [router]

    app = create_service(settings, name="notes-service", routers=routers, api=api)

    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    if os.environ.get("BROKEN"):
        app[SERVICE].consumers[0].member.read = broken
    return app

if __name__ == "__main__":
    run(create, NotesSettings, log_format="json")
'''


@dataclass
class Program:
    """A service in a process of its own."""

    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def status(self, path: str) -> int:
        """The status of a GET; 0 if nobody answers."""
        try:
            async with self.session.get(self.url + path) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def post(self, path: str) -> int:
        """The status of a POST."""
        async with self.session.post(self.url + path) as answer:
            return answer.status

    async def until_status(self, path: str, wanted: int) -> None:
        async with asyncio.timeout(SECONDS):
            while await self.status(path) != wanted:
                assert self.process.returncode is None, await self.end()
                await asyncio.sleep(0.02)

    async def until_said(self, words: str) -> str:
        """The first line on standard error with these words; those before it are gone."""
        assert self.process.stderr is not None
        async with asyncio.timeout(SECONDS):
            while words not in (line := (await self.process.stderr.readline()).decode()):
                assert line, await self.end()
        return line

    async def end(self, number: signal.Signals | None = None) -> tuple[int, list[str]]:
        """Its exit status and the lines that it wrote to standard error, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(SECONDS):
            _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode().splitlines()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def program(directory: Path, *, source: str = PROGRAM, **environment: str) -> AsyncIterator[Program]:
    """Start the program; kill it in the end if it is still there."""
    (directory / "notes.py").write_text(source)
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON", "HOME"))}
    port = int(environment.setdefault("PORT", str(free_port())))
    process = await asyncio.create_subprocess_exec(
        sys.executable, directory / "notes.py", env={**inherited, **environment}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Program(process, session, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def messages(lines: list[str]) -> list[str]:
    """The messages of log lines, each of which must be JSON."""
    return [json.loads(line)["message"] for line in lines]


@pytest.fixture(scope="module")
def running_server() -> Iterator[Server]:
    """A server for the programs; of which kind does not matter to them."""
    with Server(kind=available_kinds()[0]) as running:
        yield running


@pytest.fixture
def client(running_server: Server) -> Iterator[Any]:
    """A client of that server, which is empty: what one test leaves pending would block the programs of others."""
    with redis.Redis.from_url(running_server.url) as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def server(running_server: Server, client: Any) -> Server:
    """The same server."""
    return running_server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_order(tmp_path: Path, server: Server, client: Any, number: signal.Signals) -> None:
    async with program(tmp_path, REDIS_URL=server.url, POD_NAME="pod-1") as running:
        await running.until_status("/readyz", 200)
        assert [each["name"] for each in client.xinfo_consumers("notes_stream", "notes-group")] == [b"pod-1"]
        status, lines = await running.end(number)
    assert status == 0
    said = messages(lines)
    assert said[-2:] == ["left notes-group: nothing is pending", "stopped"]
    began, ended = (datetime.fromisoformat(json.loads(lines[at])["timestamp"]) for at in (said.index("stopping"), -1))
    assert (ended - began).total_seconds() < REQUESTS_SECONDS  # our connection is still open, and asks for nothing
    assert client.xinfo_consumers("notes_stream", "notes-group") == []


async def test_requests_in_hand_are_answered_before_it_ends(tmp_path: Path, server: Server, client: Any) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/livez", 200)
        asked = asyncio.create_task(running.session.get(running.url + "/slow"))
        await until(lambda: client.exists("asked"))
        ended = asyncio.create_task(running.end(signal.SIGTERM))
        answer = await asked
        assert (answer.status, await answer.json()) == (200, {"said": "goodbye"})
        assert answer.headers["Connection"] == "close"
        assert (await ended)[0] == 0


async def test_deliveries_in_hand_are_finished_while_http_still_answers(
    tmp_path: Path, server: Server, client: Any
) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/readyz", 200)
        assert await running.post("/notes/wait") == 202
        await until(lambda: client.info("clients")["blocked_clients"] >= 2)
        running.process.send_signal(signal.SIGTERM)
        await running.until_status("/readyz", 503)
        assert await running.status("/livez") == 200
        assert client.xpending("notes_stream", "notes-group")["pending"] == 1
        client.rpush("go-on", "now")
        assert (await running.end())[0] == 0
    assert client.xpending("notes_stream", "notes-group")["pending"] == 0


async def test_what_swallows_its_cancelling_does_not_keep_it_from_its_end(
    tmp_path: Path, server: Server, client: Any
) -> None:
    async with program(tmp_path, REDIS_URL=server.url, DRAIN_SECONDS="0.2") as running:
        await running.until_status("/readyz", 200)
        assert await running.post("/notes/stubborn") == 202
        await until(lambda: client.xpending("notes_stream", "notes-group")["pending"] == 1)
        status, lines = await running.end(signal.SIGTERM)
    assert status == 0
    assert messages(lines)[-1].startswith("not ended within 3.7 s: ending at once, although this still runs: ")


async def test_it_starts_without_a_server_and_waits_for_it(tmp_path: Path) -> None:
    server = Server(kind=available_kinds()[0])
    async with program(tmp_path, REDIS_URL=f"redis://127.0.0.1:{server.port}") as running:
        await running.until_status("/readyz", 503)
        assert await running.status("/livez") == 200
        with server:
            await running.until_status("/readyz", 200)
            status, lines = await running.end(signal.SIGTERM)
    assert status == 0
    said = messages(lines)
    assert f"waiting for Redis at 127.0.0.1:{server.port}" in said
    assert f"Redis at 127.0.0.1:{server.port} is there" in said


async def test_what_kubernetes_puts_into_the_environment_is_harmless(tmp_path: Path, server: Server) -> None:
    links = {
        "NOTES_SERVICE_PORT": "tcp://10.0.0.1:8001",
        "ORDER_PORT": "tcp://10.0.0.1:8001",
        "ORDER_SERVICE_HOST": "10.0.0.1",
        "REDIS_PORT": "tcp://10.0.0.2:6379",
        "REDIS_SERVICE_PORT": "6379",
    }
    async with program(tmp_path, REDIS_URL=server.url, **links) as running:
        await running.until_status("/readyz", 200)


async def test_the_environment_goes_before_defaults(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url, LOG_FORMAT="console") as running:
        await running.until_status("/livez", 200)
        _, lines = await running.end(signal.SIGTERM)
    assert not any(line.startswith("{") for line in lines)


class TestOneLine:
    """What can't work ends at once, with one readable line."""

    async def one_line(self, directory: Path, **environment: str) -> tuple[int, str]:
        async with program(directory, **environment) as running:
            status, lines = await running.end()
        assert len(lines) == 1, lines
        return status, lines[0]

    async def test_a_wrong_setting(self, tmp_path: Path) -> None:
        status, line = await self.one_line(tmp_path, LOG_LEVEL="LOUD")
        assert status == 2
        assert line.startswith("LOG_LEVEL: ")

    async def test_a_wrong_setting_of_telemetry(self, tmp_path: Path, server: Server) -> None:
        wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}
        status, line = await self.one_line(tmp_path, REDIS_URL=server.url, **wrong)
        assert status == 2
        assert line.startswith("OTEL_EXPORTER_OTLP_PROTOCOL: there is no 'smoke' here")

    @pytest.mark.parametrize("address", ["collector", "http://[::1", "http://collector:port", "http://a collector"])
    async def test_an_address_of_a_collector_that_is_none(self, tmp_path: Path, server: Server, address: str) -> None:
        status, line = await self.one_line(tmp_path, REDIS_URL=server.url, OTEL_EXPORTER_OTLP_ENDPOINT=address)
        assert status == 2
        assert line.startswith("OTEL_EXPORTER_OTLP_ENDPOINT: not an address that begins with http:// or https://")

    async def test_a_database_that_the_server_has_not(self, tmp_path: Path, server: Server) -> None:
        status, line = await self.one_line(tmp_path, REDIS_URL=f"redis://127.0.0.1:{server.port}/99")
        assert status == 2
        assert line.startswith(f"REDIS_URL: Redis at 127.0.0.1:{server.port} says: ")
        assert "DB index is out of range" in line

    @pytest.mark.parametrize("credentials", ["", ":wrong@", "somebody:wrong@"])
    async def test_a_wrong_password(self, tmp_path: Path, credentials: str) -> None:
        with Server(kind=available_kinds()[0], password="right") as server:
            url = f"redis://{credentials}127.0.0.1:{server.port}/0"
            status, line = await self.one_line(tmp_path, REDIS_URL=url)
        assert status == 2
        assert line.startswith(f"REDIS_URL, REDIS_PASSWORD: Redis at 127.0.0.1:{server.port} refuses our credentials: ")
        assert ":wrong" not in line

    async def test_a_server_that_may_evict_streams(self, tmp_path: Path) -> None:
        with Server(kind=available_kinds()[0], policy="allkeys-lru") as server:
            status, line = await self.one_line(tmp_path, REDIS_URL=server.url)
        assert status == 2
        assert "allkeys-lru" in line

    async def test_a_port_that_is_taken(self, tmp_path: Path, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            status, line = await self.one_line(tmp_path, REDIS_URL=server.url, HOST="127.0.0.1", PORT=port)
        assert status == 1
        assert line == f"HOST, PORT: can't listen on 127.0.0.1:{port}: Address already in use"

    async def test_a_host_that_is_not_ours(self, tmp_path: Path, server: Server) -> None:
        status, line = await self.one_line(tmp_path, REDIS_URL=server.url, HOST="192.0.2.1")
        assert status == 1
        assert line.startswith("HOST, PORT: can't listen on 192.0.2.1:")


async def test_a_server_that_comes_later_and_refuses_the_password_ends_it_too(tmp_path: Path) -> None:
    server = Server(kind=available_kinds()[0], password="right")
    async with program(tmp_path, REDIS_URL=f"redis://:wrong@127.0.0.1:{server.port}") as running:
        await running.until_status("/readyz", 503)
        with server:
            status, lines = await running.end()
    assert status == 2
    assert lines[-1].startswith(
        f"REDIS_URL, REDIS_PASSWORD: Redis at 127.0.0.1:{server.port} refuses our credentials: "
    )
    assert not any("Traceback" in line for line in lines)


async def test_a_consumer_that_ends_by_a_defect_ends_the_process_loudly(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url, BROKEN="yes") as running:
        status, lines = await running.end()
    assert status == 1
    [critical] = [line for line in map(json.loads, lines) if line["level"] == "CRITICAL"]
    assert critical["message"] == "consume-notes-group ended by a defect: stopping"
    assert "RuntimeError: a defect" in critical["exception"]
    assert messages(lines)[-1] == "stopped"


async def test_what_is_no_http_is_a_problem_too(tmp_path: Path, server: Server) -> None:
    long = b"x" * 20_000
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/livez", 200)
        for nonsense in (b"nonsense", b"GET / HTTP/1.1\r\nX-Long: " + long, b"GET /" + long + b" HTTP/1.1"):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(nonsense + b"\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.split()[1] == b"400"
            assert b"application/problem+json" in head
            assert json.loads(body)["correlationId"] in head.decode().partition("X-Correlation-ID: ")[2]
        _, lines = await running.end(signal.SIGTERM)
    assert not any("Traceback" in line for line in lines)


async def test_a_blocked_event_loop_fails_liveness_and_the_log_names_who_blocks_it(
    tmp_path: Path, server: Server
) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await running.until_status("/readyz", 200)
        assert await running.status("/livez") == 200
        # Not awaited: its answer may be behind the handler, which keeps everything waiting.
        posting = asyncio.create_task(running.post("/notes/block"))
        said = json.loads(await running.until_said("has been blocked"))
        assert "by notes-group's handler of note.put, at " in said["message"]
        assert "time.sleep(60)" in said["stack"]
        with pytest.raises(TimeoutError):
            # As Kubernetes asks, with its timeout: a probe that is not answered in time has failed.
            async with asyncio.timeout(1), running.session.get(running.url + "/livez"):
                pass
        posting.cancel()
        await asyncio.wait([posting])


async def test_what_cycles_hold_does_not_wait_for_the_collectors_threshold() -> None:
    class Cycle:
        me: Cycle

    cycle = Cycle()
    cycle.me = cycle
    left = weakref.ref(cycle)
    del cycle
    gc.disable()
    collecting = asyncio.create_task(collect_now_and_then(0.01))
    try:
        await until(lambda: left() is None)
    finally:
        collecting.cancel()
        gc.enable()
