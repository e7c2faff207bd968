"""A pipe in trouble: nothing is sent twice, nobody waits for ever, and it mends itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from redis.asyncio.connection import AbstractConnection

from eventcore import OutcomeUnknown, Settings, Unavailable
from eventcore.server.connection import Connector
from eventcore.server.pipe import Pipe, WrongPassword
from eventcore.testing import Server, ServerKind, available_kinds, until
from eventcore.testing.fixtures import StartServer

Open = Callable[..., Pipe]
SHORT = timedelta(seconds=0.2)


@pytest.fixture
async def open_pipe(settings: Settings) -> AsyncIterator[Open]:
    """Open pipes that are closed after the test."""
    async with AsyncExitStack() as stack:

        def opened(server: Server | None = None, url: str = "", **options: Any) -> Pipe:
            url = url or (server.url if server else settings.url)
            connector = Connector(settings.model_copy(update={"redis_url": SecretStr(url)}))
            stack.push_async_callback(connector.close)
            pipe = Pipe(connector.connect, on_connect=[("CLIENT", "ID")], **options)
            stack.push_async_callback(pipe.close)
            pipe.start()
            return pipe

        yield opened


async def busy(pipe: Pipe) -> list[asyncio.Task[Any]]:
    """Three commands on their way whose replies are long in coming."""
    await pipe.wait_connected()
    waiting = [asyncio.create_task(pipe.execute("BLPOP", f"list {n}", 60)) for n in range(3)]
    await asyncio.sleep(0)
    return waiting


async def test_commands_on_the_way_of_a_killed_connection_have_an_unknown_outcome(open_pipe: Open) -> None:
    pipe, other = open_pipe(), open_pipe()
    waiting = await busy(pipe)
    [first] = pipe.greeting
    await until(lambda: blocked(other))
    await other.execute("CLIENT", "KILL", "ID", first)

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}
    await until(lambda: pipe.connected)
    assert await pipe.execute("PING") == b"PONG"
    assert pipe.greeting != [first]


async def blocked(pipe: Pipe) -> bool:
    return b"blocked_clients:1" in (await pipe.execute("INFO", "clients")).splitlines()


async def test_a_command_is_never_sent_again_by_itself(open_pipe: Open) -> None:
    pipe, other = open_pipe(), open_pipe()
    await pipe.wait_connected()
    counting = [asyncio.create_task(pipe.execute("INCR", "count")) for _ in range(1000)]
    await asyncio.sleep(0)
    await other.execute("CLIENT", "KILL", "ID", pipe.greeting[0])
    outcomes = await asyncio.gather(*counting, return_exceptions=True)

    counted = int(await other.execute("GET", "count") or 0)
    answered = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(answered) <= counted <= 1000
    assert answered == list(range(1, len(answered) + 1))
    assert all(isinstance(outcome, int | Unavailable) for outcome in outcomes)


async def test_a_server_that_is_not_there_is_waited_for_no_longer_than_patience(
    open_pipe: Open, start_server: StartServer
) -> None:
    server = start_server()
    server.kill()
    pipe = open_pipe(server, patience=SHORT)

    started = time.monotonic()
    with pytest.raises(Unavailable, match="Redis is out of reach") as raised:
        await pipe.execute("PING")
    assert 0.1 < time.monotonic() - started < 2
    assert not isinstance(raised.value, OutcomeUnknown)
    assert raised.value.retry_after
    assert pipe.failure is not None

    server.restart()
    await pipe.wait_connected(timedelta(seconds=10))
    assert await pipe.execute("PING") == b"PONG"


async def test_a_server_that_hangs_is_given_up_and_found_again(open_pipe: Open, start_server: StartServer) -> None:
    server = start_server()
    pipe = open_pipe(server, timeout=SHORT, patience=SHORT)
    await pipe.wait_connected()
    server.pause()

    with pytest.raises(OutcomeUnknown, match=r"no reply within 0\.2 s"):
        await pipe.execute("PING")
    with pytest.raises(Unavailable):
        await pipe.execute("PING")
    server.resume()
    await until(lambda: pipe.connected)
    assert await pipe.execute("PING") == b"PONG"


async def test_a_slow_server_that_answers_in_time_is_not_given_up(open_pipe: Open) -> None:
    pipe = open_pipe(timeout=timedelta(seconds=0.4))
    await pipe.wait_connected()
    first = pipe.greeting
    for _ in range(4):
        assert await pipe.execute("BLPOP", "list", 0.25) is None
    assert pipe.greeting == first


async def test_an_idle_connection_is_not_given_up(open_pipe: Open) -> None:
    pipe = open_pipe(timeout=timedelta(seconds=0.05))
    await pipe.execute("PING")
    first = pipe.greeting
    await asyncio.sleep(0.2)  # nothing is awaited: nothing can be late
    assert await pipe.execute("PING") == b"PONG"
    assert pipe.greeting == first


async def test_a_restarted_server_is_found_again(open_pipe: Open, start_server: StartServer) -> None:
    server = start_server()
    pipe = open_pipe(server)
    waiting = await busy(pipe)
    server.kill()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}
    server.restart()
    await pipe.wait_connected(timedelta(seconds=10))
    assert await pipe.execute("PING") == b"PONG"


async def test_a_wrong_password_is_told_at_once_to_whoever_waits(open_pipe: Open, start_server: StartServer) -> None:
    server = start_server(password="right")
    for password in ("", "wrong"):
        pipe = open_pipe(url=f"redis://:{password}@127.0.0.1:{server.port}/0")
        for _ in range(2):
            with pytest.raises(WrongPassword, match="Redis refuses our credentials"):
                await asyncio.wait_for(pipe.wait_connected(), 5)
            with pytest.raises(WrongPassword):
                await pipe.execute("PING")
        assert isinstance(pipe.failure, WrongPassword)


async def test_a_password_that_becomes_right_lets_it_in(open_pipe: Open, start_server: StartServer) -> None:
    server = start_server(password="old")
    pipe = open_pipe(url=f"redis://:new@127.0.0.1:{server.port}/0")
    with pytest.raises(WrongPassword):
        await pipe.wait_connected(timedelta(seconds=5))
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("requirepass", "new")
    await until(lambda: pipe.connected)
    assert await pipe.execute("PING") == b"PONG"


async def test_a_master_that_was_demoted_is_left_for_the_new_one(
    settings: Settings, start_server: StartServer, open_pipe: Open
) -> None:
    old, new = (start_server(options={"shutdown-timeout": "0"}) for _ in range(2))
    master = old
    connectors = {server: Connector(settings.model_copy(update={"redis_url": server.url})) for server in (old, new)}

    async def connect_to_master() -> AbstractConnection:
        return await connectors[master].connect()

    pipe = Pipe(connect_to_master)
    pipe.start()
    try:
        await pipe.execute("SET", "a", "b")
        await pipe.execute("REPLICAOF", "127.0.0.1", new.port)
        master = new
        with pytest.raises(Unavailable, match="READONLY"):
            await pipe.execute("SET", "a", "b")
        await until(lambda: pipe.connected)
        assert await pipe.execute("SET", "a", "b") == b"OK"
    finally:
        await pipe.close()


async def test_a_replica_is_not_asked_all_the_time_whether_it_is_a_master_again(
    open_pipe: Open, start_server: StartServer
) -> None:
    pipe = open_pipe(start_server(options={"shutdown-timeout": "0"}), patience=timedelta(seconds=10))
    await pipe.execute("REPLICAOF", "127.0.0.1", 1)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(Unavailable, match="READONLY"):
            await pipe.execute("SET", "a", "b")
        # At once: whoever waited until then might find it connected again.
        assert str(pipe.failure) == "the server became a replica"
    assert time.monotonic() - began >= 2 * 0.5
    await pipe.wait_connected()
    await pipe.execute("REPLICAOF", "NO", "ONE")


async def test_closing_tells_whoever_waits(open_pipe: Open) -> None:
    pipe = open_pipe()
    waiting = await busy(pipe)
    await pipe.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}


async def test_a_connection_that_can_not_say_its_greeting_is_no_connection(settings: Settings) -> None:
    connector = Connector(settings)
    pipe = Pipe(connector.connect, on_connect=[("NO-SUCH-COMMAND",)], patience=SHORT)
    pipe.start()
    with pytest.raises(Unavailable, match="unknown command"):
        await pipe.execute("PING")
    await pipe.close()
    await connector.close()


LEAKY = """
import asyncio, sys
from eventcore import Settings, Store
from eventcore.errors import Unavailable

async def main():
    settings = Settings(redis_url=sys.argv[1])
    for moment in range(0, 60, 5):
        async with Store(settings, source="closed while connecting") as store:
            reader = store.reader("reader")
            reader.start()
            for _ in range(moment):
                await asyncio.sleep(0)
            await reader.close()
    async with Store(settings, source="closed while waiting") as store:
        await store.commands.wait_connected()
        waiting = [asyncio.create_task(store.commands.execute("BLPOP", "list", 60)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    async with Store(settings, source="used") as store:
        await store.commands.execute("PING")
        await store.redis.ping()
    unreachable = Settings(redis_url="redis://127.0.0.1:1/0")
    async with Store(unreachable, source="nobody there") as store:
        try:
            await store.commands.execute("PING")
        except Unavailable:
            pass

asyncio.run(main())
"""


def test_nothing_is_left_open_whenever_it_is_closed(running_servers: Callable[[ServerKind], Server]) -> None:
    server = running_servers(available_kinds()[0])  # one kind is enough: it's about our side of the wire
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", LEAKY, server.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")
    ours = ("lost the connection to Redis", "can't reach Redis", "Executing <")  # the last: asyncio about slowness
    assert [line for line in ended.stderr.splitlines() if not line.startswith(ours)] == []
