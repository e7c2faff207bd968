"""Every contestant does the whole work, and one that does not is found out. No time is looked at."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from redis import Redis

from benchmarks import posting, running, saga, works
from benchmarks.contestants import CONTESTANTS, MODULES, Contestant
from benchmarks.plan import Cell, plan
from benchmarks.running import WrongCount
from eventcore.testing.server import Server

COUNT = 30
PYTHON = [each for each in CONTESTANTS if each.name in MODULES]
NODE = [each for each in CONTESTANTS if each.name not in MODULES]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running_server:
        yield running_server


@pytest.fixture
def redis(server: Server) -> Iterator[Any]:
    client = Redis.from_url(server.url, protocol=2)
    yield client
    client.close()


OTHER_WORKS = [
    cell
    for cell in plan(
        argparse.Namespace(full=False, events=200, sustained=20, minutes=0, only="", who="nobody", beside=None)
    )
    if (cell.work, cell.who)
    in (
        (posting.WORK, "eventcore"),
        (saga.WORK, saga.OURS),
        (f"telemetry: {works.ACKNOWLEDGE}", "sampled and exported"),
        ("flatness: groups", "8"),
    )
]


def ours() -> Contestant:
    return next(each for each in CONTESTANTS if each.name == "eventcore")


@pytest.mark.parametrize("contestant", PYTHON, ids=lambda each: each.name)
async def test_a_contestant_in_python_does_its_works(contestant: Contestant, server: Server, redis: Any) -> None:
    if reason := contestant.missing():
        pytest.skip(reason)
    for work in contestant.works:
        await asyncio.to_thread(running.prepare, redis, contestant, work, COUNT)
        timed = await import_module(MODULES[contestant.name]).CONTESTANTS[contestant.name][work](server.url, COUNT)
        await timed()
        await asyncio.to_thread(running.verify, redis, contestant, work, COUNT)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("contestant", NODE, ids=lambda each: each.name)
def test_a_contestant_on_node_does_its_works(contestant: Contestant, server: Server) -> None:
    if reason := contestant.missing():
        pytest.skip(reason)
    for work in contestant.works:
        assert running.run(server.url, contestant, work, COUNT)["count"] == COUNT


def test_a_run_tells_the_time_and_cpu_of_contestant_and_server(server: Server) -> None:
    run = running.run(server.url, ours(), works.RESERVE, COUNT)
    assert run["count"] == COUNT
    assert all(run[name] > 0 for name in ("wall", "cpu", "server"))


@pytest.mark.parametrize("work", works.WORKS)
def test_work_that_was_not_done_is_found_out(work: str, redis: Any) -> None:
    running.prepare(redis, ours(), work, COUNT)
    if work in works.CONSUMING:
        redis.xgroup_create("orders_stream", works.GROUP, id="0")
    with pytest.raises(WrongCount, match="after 30 events"):
        running.verify(redis, ours(), work, COUNT)


@pytest.mark.timeout(240)  # up to five programs are started, one after another; on a busy machine that takes a while
@pytest.mark.parametrize("cell", OTHER_WORKS, ids=lambda cell: cell.work)
def test_a_work_of_whole_programs_is_done(cell: Cell, server: Server) -> None:
    assert cell.measure(server.url)["count"] > 0


def test_a_program_that_fails_is_no_figure(redis: Any) -> None:
    with pytest.raises(WrongCount, match="ended with status 1"):
        running.timed(redis, [["/bin/sh", "-c", "exit 1"]])


def test_every_contestant_is_given_the_same_payload_of_about_430_bytes() -> None:
    assert all(400 < len(payload) < 460 for payload in works.payloads(10))
