"""Durable commits are answered only once the append-only file is synced, or a replica has the write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from eventcore import Hash, OutcomeUnknown, Settings, SettingsError, Store, Transaction
from eventcore.durability import Durability
from eventcore.testing.fixtures import StartServer
from eventcore.testing.server import Server, available_kinds

place = Hash("h")


@asynccontextmanager
async def durable(server: Server, durability: Durability) -> AsyncIterator[Store]:
    settings = Settings(redis_url=SecretStr(server.url))
    async with Store(settings, source="test", durability=durability) as store:
        yield store


def write(value: int) -> Transaction:
    return Transaction(then=[place["value"].set(value)])


needs_waitaof = pytest.mark.skipif("valkey" not in available_kinds(), reason="WAITAOF needs Redis or Valkey 7.2")


@needs_waitaof
async def test_a_commit_to_disk_survives_a_kill_of_the_server_right_after_the_answer() -> None:
    with Server(kind="valkey", append_only=True) as server:
        async with durable(server, Durability.DISK) as store:
            await store.commit(write(7))
            server.kill()
            server.restart()
        async with durable(server, Durability.DISK) as store:
            assert await store.redis.hget("h", "value") == b"7"


@needs_waitaof
async def test_many_commits_share_a_sync() -> None:
    with Server(kind="valkey", append_only=True) as server:
        async with durable(server, Durability.DISK) as store, asyncio.timeout(10):
            # One after another, at a sync a second, these would take more than a minute.
            await asyncio.gather(*(store.commit(Transaction(then=[place["n"].add(1)])) for _ in range(100)))
            assert await store.redis.hget("h", "n") == b"100"


async def test_a_server_that_has_no_append_only_file_is_refused(start_server: StartServer) -> None:
    async with durable(start_server(append_only=False), Durability.DISK) as store:
        with pytest.raises(SettingsError, match="ORDER_DURABILITY"):
            await store.check_server()


async def test_a_commit_that_no_replica_takes_over_is_not_answered_as_done(start_server: StartServer) -> None:
    async with durable(start_server(), Durability.REPLICA) as store:
        with pytest.raises(OutcomeUnknown, match="not durable in time"):
            await store.commit(write(7))


async def test_a_commit_is_answered_once_a_replica_has_it(start_server: StartServer) -> None:
    primary = start_server()
    replica = start_server(options={"replicaof": f"127.0.0.1 {primary.port}"})
    async with durable(primary, Durability.REPLICA) as store, durable(replica, Durability.MEMORY) as copy:
        await until(store, b"state=online")
        await until(copy, b"master_link_status:up")
        await store.commit(write(7))
        assert await copy.redis.hget("h", "value") == b"7"


async def until(store: Store, said: bytes) -> None:
    """Wait until the server says this about its replication."""
    async with asyncio.timeout(30):
        while said not in await store.commands.execute("INFO", "replication"):
            pass
