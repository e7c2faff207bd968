"""One connection for many: everybody gets their own replies, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from eventcore import Conflict, Settings, Unavailable
from eventcore.server.connection import Connector
from eventcore.server.pipe import Pipe, ServerError, server_error


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Pipe]:
    connector = Connector(settings)
    opened = Pipe(connector.connect, on_connect=[("CLIENT", "ID"), ("ECHO", "hello")])
    opened.start()
    yield opened
    await opened.close()
    await connector.close()


async def test_many_awaiters_get_their_own_replies(pipe: Pipe) -> None:
    async def ask(number: int) -> bool:
        await asyncio.sleep(0 if number % 3 else random.random() / 100)
        replies = await pipe.pipeline([("ECHO", f"{number} {n}") for n in range(number % 5 + 1)])
        return replies == [f"{number} {n}".encode() for n in range(number % 5 + 1)]

    await pipe.wait_connected(timedelta(seconds=30))
    assert all(await asyncio.gather(*map(ask, range(1000))))


async def test_commands_are_run_in_the_order_in_which_they_were_sent(pipe: Pipe) -> None:
    await asyncio.gather(*(pipe.execute("RPUSH", "list", number) for number in range(500)))
    assert await pipe.execute("LRANGE", "list", 0, -1) == [str(number).encode() for number in range(500)]


async def test_commands_of_one_moment_leave_in_one_write(pipe: Pipe) -> None:
    async def reads() -> int:
        report: bytes = await pipe.execute("INFO", "stats")
        [line] = [line for line in report.splitlines() if line.startswith(b"total_reads_processed")]
        return int(line.partition(b":")[2])

    before = await reads()
    await asyncio.gather(*(pipe.execute("PING") for _ in range(100)))
    assert await reads() - before <= 3


async def test_an_error_stands_in_the_place_of_its_reply(pipe: Pipe) -> None:
    good, wrong, unknown, other = await pipe.pipeline(
        [("SET", "text", "x"), ("LPUSH", "text", "y"), ("NO-SUCH-COMMAND", b"\xff"), ("GET", "text")]
    )
    assert (good, other) == (b"OK", b"x")
    assert isinstance(wrong, Conflict)
    assert isinstance(unknown, ServerError)
    assert unknown.code == "ERR"
    with pytest.raises(Conflict):
        await pipe.execute("LPUSH", "text", "y")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable),
        ("LOADING Redis is loading the dataset in memory", Unavailable),
        ("READONLY You can't write against a read only replica.", Unavailable),
        ("MISCONF Redis is configured to save RDB snapshots", Unavailable),
        ("BUSY Redis is busy running a script.", Unavailable),
        ("MASTERDOWN Link with MASTER is down", Unavailable),
        ("NOREPLICAS Not enough good replicas to write.", Unavailable),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Conflict),
        ("BUSYGROUP Consumer Group name already exists", ServerError),
        ("NOSCRIPT No matching script.", ServerError),
        ("ERR unknown command", ServerError),
        ("", ServerError),
    ],
)
def test_an_error_reply_says_whether_waiting_helps(message: str, kind: type[Exception]) -> None:
    error = server_error(message)
    assert type(error) is kind
    assert str(error) == message


@pytest.mark.parametrize("message", ["MOVED 3808 127.0.0.1:7001", "ASK 3808 127.0.0.1:7001"])
def test_a_node_of_a_cluster_that_has_not_the_slot_may_have_it_later(message: str) -> None:
    error = server_error(message)
    assert type(error) is Unavailable
    assert str(error).startswith(f"{message}: REDIS_URL ")


async def test_replies_of_every_shape_and_size(pipe: Pipe) -> None:
    large = random.randbytes(10_000_000)
    await pipe.pipeline([("SET", "large", large), ("RPUSH", "list", *range(50_000)), ("SET", "empty", b"")])
    replies = await pipe.pipeline(
        [
            ("GET", "large"), ("GET", "missing"), ("LRANGE", "list", 0, -1), ("STRLEN", "large"), ("GET", "empty"),
            ("EVAL", "return {1, {2, false}, {err = 'ERR inside'}}", 0), ("LRANGE", "missing", 0, -1),
        ]
    )  # fmt: skip
    *others, nested, none = replies
    assert others == [large, None, [str(n).encode() for n in range(50_000)], len(large), b""]
    assert nested[:2] == [1, [2, None]]
    assert isinstance(nested[2], ServerError)
    assert none == []


async def test_an_awaiter_that_is_cancelled_leaves_the_others_their_replies(pipe: Pipe) -> None:
    waiting = [asyncio.create_task(pipe.execute("ECHO", number)) for number in range(100)]
    await pipe.wait_connected()
    await asyncio.sleep(0)
    for each in waiting[::2]:
        each.cancel()
    assert await asyncio.gather(*waiting[1::2]) == [str(number).encode() for number in range(1, 100, 2)]


@pytest.mark.parametrize("argument", [None, "\ud800", object()], ids=["None", "half a character", "an object"])
async def test_a_command_that_can_not_be_written_down_leaves_no_trace(argument: object, pipe: Pipe) -> None:
    neighbours = [asyncio.create_task(pipe.execute("ECHO", number)) for number in range(3)]
    with pytest.raises((TypeError, ValueError)):
        await pipe.pipeline([("ECHO", "a"), ("ECHO", "b"), ("ECHO", argument)])  # type: ignore[list-item]
    assert await pipe.execute("ECHO", "after") == b"after"
    assert await asyncio.gather(*neighbours) == [b"0", b"1", b"2"]


async def test_nothing_to_say_needs_no_server() -> None:
    async def never() -> None:
        raise AssertionError

    assert await Pipe(never).pipeline([]) == []  # type: ignore[arg-type]


async def test_what_is_said_on_connecting_is_kept(pipe: Pipe) -> None:
    await pipe.wait_connected(timedelta(seconds=5))
    assert pipe.greeting == [await pipe.execute("CLIENT", "ID"), b"hello"]
    assert pipe.connected
    assert pipe.failure is None


async def test_starting_and_closing_twice_does_nothing(pipe: Pipe) -> None:
    pipe.start()
    await pipe.wait_connected(timedelta(seconds=5))
    pipe.start()
    assert await pipe.execute("PING") == b"PONG"
    await pipe.close()
    await pipe.close()
    assert not pipe.connected
