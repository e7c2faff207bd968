"""A server whose place another has taken is left, whoever says so: Sentinels, or the address itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from eventcore import OutcomeUnknown, Store, Unavailable
from eventcore.server import lookout
from eventcore.server.connection import ServerPlace
from eventcore.server.lookout import Lookout
from eventcore.server.sentinels import MasterReply, Sentinels, believed
from eventcore.testing import Server, until
from eventcore.testing.fixtures import Connect, StartServer

from .sentinel import sentinel

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


def answers(*said: tuple[tuple[str, int], int]) -> list[MasterReply]:
    return [MasterReply(address, epoch, down=False) for address, epoch in said]


@pytest.mark.parametrize(
    ("said", "sentinels", "followed", "master"),
    [
        ([(OLD, 1)], 1, 0, OLD),
        ([(OLD, 1), (NEW, 2), (NEW, 2)], 3, 1, NEW),  # the first is cut off
        ([(OLD, 9), (NEW, 2), (NEW, 2)], 3, 2, NEW),  # the first watches over another shop
        ([(OLD, 1), (NEW, 2)], 3, 1, NEW),
        ([(OLD, 1), (OLD, 1), (NEW, 2)], 3, 1, OLD),  # it has just been elected, and the others will know at once
        ([(OLD, 1)], 3, 2, None),  # those who know better are out of reach
        ([(OLD, 0), (OLD, 0)], 3, 2, OLD),  # they were set up anew
        ([], 3, 0, None),
    ],
)
def test_the_sentinels_that_know_best_are_believed(
    said: list[tuple[tuple[str, int], int]], sentinels: int, followed: int, master: tuple[str, int] | None
) -> None:
    answer = believed(answers(*said), sentinels=sentinels, followed=followed)
    assert (answer.address if answer else None) == master


def test_a_place_is_known_by_its_server_where_that_says_who_it_is() -> None:
    assert ServerPlace("a:1", "x").is_same(ServerPlace("a:1", "x"))
    assert ServerPlace("a:1", "x").is_same(ServerPlace("a:1", ""))
    assert not ServerPlace("a:1", "x").is_same(ServerPlace("a:1", "y"))
    assert not ServerPlace("a:1", "").is_same(ServerPlace("b:1", ""))


async def written_to(server: Server, store: Store) -> bool:
    """Whether what is written now reaches this server."""
    with redis.Redis(port=server.port) as admin:
        before = admin.incr("written:test")
    try:
        return bool(await store.commands.execute("INCR", "written:test") == before + 1)
    except (Unavailable, OutcomeUnknown):
        return False


async def test_a_master_that_the_sentinels_have_replaced_is_left_by_all_connections(
    start_server: StartServer, connect: Connect, tmp_path: Path
) -> None:
    old, new = start_server(), start_server()
    with sentinel(old, tmp_path) as port, redis.Redis(port=port) as watching:
        store = await connect(
            redis_sentinels=(("127.0.0.1", port),), redis_sentinel_master="main", redis_url=SecretStr("redis://ignored")
        )
        reader = store.reader("reader")
        reader.start()
        blocked = asyncio.ensure_future(reader.execute("BLPOP", "nothing", 100))
        await until(lambda: written_to(old, store))
        await store.redis.set("asked", "old", ex=60)
        watching.execute_command("SENTINEL", "REMOVE", "main")
        watching.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", str(new.port), "1")
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(blocked, 10)
        await until(lambda: written_to(new, store))
        assert await store.redis.get("asked") is None
        await reader.close()


async def test_a_sentinel_that_hangs_is_not_waited_for_and_not_asked_again(any_server: Server, tmp_path: Path) -> None:
    asked: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: asked.append(writer), "127.0.0.1", 0)
    hanging: tuple[str, int] = silent.sockets[0].getsockname()
    with sentinel(any_server, tmp_path) as port:
        sentinels = Sentinels([hanging, ("127.0.0.1", port)], socket_timeout=30)
        for _ in range(2):
            assert await sentinels.discover_master("main") == ("127.0.0.1", any_server.port)
        await sentinels.aclose()
    assert len(asked) == 1
    for writer in asked:
        writer.close()
    silent.close()


@asynccontextmanager
async def leading_to(target: Callable[[], Server]) -> AsyncIterator[int]:
    """A port behind which new connections are led to `target()`, as by a Service of Kubernetes; old ones stay."""
    led: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target().port)
        try:
            await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        except OSError:
            pass
        finally:
            back.close()
            writer.close()

    service = await asyncio.start_server(lambda *streams: led.add(asyncio.create_task(lead(*streams))), "127.0.0.1", 0)
    try:
        yield service.sockets[0].getsockname()[1]
    finally:
        service.close()
        for task in led:
            task.cancel()
        await asyncio.gather(*led, return_exceptions=True)


async def test_a_server_that_the_address_no_longer_leads_to_is_left(
    start_server: StartServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.1)
    old, new = start_server(), start_server()
    target = old
    async with leading_to(lambda: target) as port:
        store = await connect(redis_url=SecretStr(f"redis://127.0.0.1:{port}"))
        await until(lambda: written_to(old, store))
        target = new
        await until(lambda: written_to(new, store))
    assert f"leaving Redis at 127.0.0.1:{port}" in caplog.text


async def test_a_server_that_stays_is_never_left(
    redis_server: Server, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.commands.execute("PING")
    watching = Lookout(store._connector)
    for _ in range(3):
        await watching.look()
    assert store.commands.connected
    assert caplog.messages == []


async def test_connections_are_not_moved_for_ever_between_servers_in_turn(
    start_server: StartServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    servers, turn = [start_server(), start_server()], 0

    def next_server() -> Server:
        nonlocal turn
        turn += 1
        return servers[turn % 2]

    async with leading_to(next_server) as port:
        store = await connect(redis_url=SecretStr(f"redis://127.0.0.1:{port}"))
        watching = Lookout(store._connector)
        for _ in range(6):
            await store.commands.wait_connected()
            await watching.look()
    moved = [message for message in caplog.messages if message.startswith("leaving Redis")]
    assert len(moved) <= 2
    complaints = [message for message in caplog.messages if "several servers in turn" in message]
    assert complaints
    assert len(complaints) < 6


async def test_where_half_of_the_sentinels_are_silent_that_is_said_and_the_other_half_followed(
    start_server: StartServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(lookout, "BLIND_SECONDS", 0.0)
    server = start_server()
    with sentinel(server, tmp_path) as port:
        named = (("127.0.0.1", port), ("127.0.0.1", 1))
        store = await connect(redis_sentinels=named, redis_sentinel_master="main")
        await until(lambda: written_to(server, store))
        for _ in range(2):
            await store._lookout.look()
        await until(lambda: written_to(server, store))
    assert caplog.text.count("too few Sentinels say who is master, a failover may go unnoticed: 1 of 2 answer") == 1


async def test_where_no_sentinel_answers_any_more_that_is_said_once(
    start_server: StartServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(lookout, "BLIND_SECONDS", 0.0)
    monkeypatch.setattr(lookout, "ASK_SENTINELS_SECONDS", 0.05)
    server = start_server()
    with sentinel(server, tmp_path) as port:
        store = await connect(redis_sentinels=(("127.0.0.1", port),), redis_sentinel_master="main")
        await until(lambda: written_to(server, store))
    blind = "too few Sentinels say who is master"
    await until(lambda: blind in caplog.text)
    await until(lambda: written_to(server, store))
    assert caplog.text.count(blind) == 1
