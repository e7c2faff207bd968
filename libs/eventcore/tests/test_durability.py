"""Durable commits are answered only once the append-only file is synced, or a replica has the write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import pytest_asyncio

from eventcore import GuardFailed, Origin, OutcomeUnknown, Settings, SortedSet, Transaction
from eventcore.commit.committer import Acknowledgement, CommitAnswer, Committer, Work
from eventcore.commit.durability import MARKER, Durability, Promise
from eventcore.commit.durable_commits import DurableCommitter
from eventcore.errors import DurabilityUnknown, NotDurable, Unavailable
from eventcore.server.connection import Connector
from eventcore.server.pipe import Pipe
from eventcore.testing.fixtures import StartServer
from eventcore.testing.server import Server, ServerKind
from libs.eventcore.tests.durable import (
    DISK,
    EVERY_SECOND,
    PLACE,
    REPLICA,
    durable,
    until,
    until_told,
    with_waitaof,
    write,
)
from tests.crash.proxy import Command, Line, Moment, Proxy

once = Transaction(when=[PLACE["value"].absent()], then=[PLACE["value"].set(7)])


@pytest_asyncio.fixture
async def pair(start_server: StartServer, brief_waits: None) -> AsyncIterator[tuple[Server, Server]]:
    """A primary, and its one replica, which follows by now."""
    primary = start_server(options={"repl-diskless-sync-delay": "0"})
    replica = start_server(options={"replicaof": f"127.0.0.1 {primary.port}"})
    async with durable(primary, Durability.MEMORY) as store:
        await until_told(lambda: store.redis.execute_command("WAIT", 1, 100))
    yield primary, replica


@with_waitaof
async def test_a_commit_to_disk_survives_a_kill_of_the_server_right_after_the_answer(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with durable(server, DISK) as store:
            await store.commit(write(7))
            server.kill()
            server.restart()
        async with durable(server, DISK) as store:
            assert await store.redis.hget("h", "value") == b"7"


@with_waitaof
async def test_many_commits_share_a_sync(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True, options=EVERY_SECOND) as server:
        async with durable(server, DISK, unproven="warn") as store, asyncio.timeout(30):
            await store.check_durability()
            # One after another, at a sync a second, these would take more than a minute.
            await asyncio.gather(*(store.commit(Transaction(then=[PLACE["n"].add(1)])) for _ in range(100)))
            assert await store.redis.hget("h", "n") == b"100"


@with_waitaof
async def test_a_server_that_no_longer_syncs_is_not_believed_again(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with durable(server, DISK) as store:
            await store.commit(write(7))
            await store.redis.config_set("appendfsync", "no")
            with pytest.raises(DurabilityUnknown, match="appendfsync has changed from always to no"):
                await store.commit(write(8))
            await until(lambda: "appendfsync is no" in (store.durability_problem or ""))
            with pytest.raises(NotDurable, match="appendfsync is no"):
                await store.commit(write(9))
            assert await store.redis.hget("h", "value") == b"8"
            await store.redis.config_set("appendfsync", "always")
            await until(lambda: store.durability_problem is None)
            await store.commit(write(10))


@with_waitaof
async def test_a_file_that_is_given_up_is_noticed_by_the_next_commit(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with durable(server, DISK) as store:
            await store.commit(write(7))
            await store.redis.config_set("appendonly", "no")
            with pytest.raises(DurabilityUnknown, match=r"ORDER_DURABILITY=disk: .*appendonly"):
                await store.commit(write(8))
            await until(lambda: "no append-only file" in (store.durability_problem or ""))


async def test_a_commit_that_no_replica_takes_over_is_not_answered_as_done_and_the_next_not_made(
    pair: tuple[Server, Server],
) -> None:
    primary, replica = pair
    async with durable(primary, REPLICA) as store:
        await store.commit(write(7))
        replica.pause()
        with pytest.raises(DurabilityUnknown, match="ORDER_DURABILITY=replica: 0 of 1 replicas had it within 1 s"):
            await store.commit(write(8))
        with pytest.raises(NotDurable, match="ORDER_DURABILITY=replica: 0 of 1"):
            await store.commit(write(9))
        assert await store.redis.hget("h", "value") == b"8"
        replica.resume()
        await until(lambda: store.durability_problem is None)
        await store.commit(write(10))


async def test_a_commit_is_answered_once_a_replica_has_it(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    async with durable(primary, REPLICA) as store, durable(replica, Durability.MEMORY) as copy:
        await store.commit(write(7))
        assert await copy.redis.hget("h", "value") == b"7"


async def test_what_another_connection_has_just_written_is_waited_for_too(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    async with durable(primary, REPLICA) as first, durable(primary, REPLICA) as second:
        await asyncio.gather(first.check_durability(), second.check_durability())
        replica.pause()
        writing = asyncio.create_task(first.commit(once))
        await until_told(lambda: second.redis.hexists("h", "value"))
        with pytest.raises(DurabilityUnknown):
            await second.commit(once)
        with pytest.raises(DurabilityUnknown):
            await writing
        replica.resume()
        await until(lambda: second.durability_problem is None)
        with pytest.raises(GuardFailed):
            await second.commit(once)


async def test_a_commit_that_finds_nothing_to_change_waits_for_who_changed_it(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    index = SortedSet("set")
    async with durable(primary, REPLICA) as store:
        await store.commit(Transaction(then=[index.add("a")]))
        replica.pause()
        await store.redis.zrem("set", "a")
        with pytest.raises(DurabilityUnknown):
            await store.commit(Transaction(then=[index.remove("a")]))


async def test_a_server_that_becomes_a_replica_meanwhile_leaves_the_outcome_open(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    async with durable(primary, REPLICA) as store:
        await store.check_durability()
        replica.pause()
        writing = asyncio.create_task(store.commit(write(7)))
        await until_told(lambda: store.redis.hexists("h", "value"))
        await store.redis.replicaof("127.0.0.1", replica.port)
        with pytest.raises(DurabilityUnknown, match="ORDER_DURABILITY=replica: UNBLOCKED"):
            await writing
        with pytest.raises(Unavailable):
            await store.commit(write(8))


@with_waitaof
async def test_a_commit_whose_answer_was_lost_is_sent_again(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with Proxy(server.port) as proxy, durable(proxy.url, DISK) as store:
            await store.check_durability()
            with proxy.trap(Moment.RUN, is_called("EVALSHA"), cut), pytest.raises(GuardFailed):
                await store.commit(once, resend=True)  # the guard fails by what the first sending has written
            assert await store.redis.hget("h", "value") == b"7"


@with_waitaof
async def test_a_sync_whose_answer_was_lost_is_asked_for_again(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with Proxy(server.port) as proxy, durable(proxy.url, DISK) as store:
            await store.check_durability()
            with proxy.trap(Moment.RUN, is_called("WAITAOF"), cut), pytest.raises(GuardFailed):
                await store.commit(once, resend=True)


class CutOffAfterwards(Committer):
    """Loses its connection right after each commit, and has another when it answers."""

    async def commit_all(
        self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement] = ()
    ) -> list[CommitAnswer]:
        answers = await super().commit_all(work, acknowledgements)
        self.pipe.drop(ConnectionError("cut"))
        await self.pipe.wait_connected()
        return answers


async def test_another_connection_is_not_believed_for_it_may_lead_to_a_server_without_the_commit(
    pair: tuple[Server, Server],
) -> None:
    promise = Promise(REPLICA)
    connector = Connector(Settings(redis_url=pair[0].url))
    pipe = Pipe(connector.connect, prove=promise.prove)
    pipe.start()
    committer = DurableCommitter(pipe, CutOffAfterwards(pipe), promise)
    await committer.check_server()
    assert isinstance(await committer.commit(Work(write(7), Origin.new("test"))), OutcomeUnknown)
    await pipe.close()
    await connector.close()


@with_waitaof
async def test_the_marker_vanishes(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with durable(server, DISK) as store:
            await store.commit(write(7))
            assert 0 < await store.redis.ttl(MARKER) <= 60


def is_called(name: str) -> Callable[[Command, bytes], bool]:
    """Whether a command is this one, and was not refused."""
    return lambda command, reply: command.words[0] == name.encode() and not reply.startswith((b"-", b"*1\r\n-"))


async def cut(command: Command, line: Line) -> None:
    """Lose the connection, and the reply with it."""
    line.cut()
