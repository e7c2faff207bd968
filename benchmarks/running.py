"""Runs one contestant once: empties and fills the server, starts the program, times it, and sees that it did it all."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from redis import Redis

from . import works
from .contestants import Contestant

Figures = dict[str, float]
# Seconds after which a contestant is taken to hang.
PATIENCE = 900.0


class WrongCount(Exception):
    """A contestant did not do the whole work: its figures would be wrong."""


def cores() -> list[int]:
    """The cores that this process may use; empty where the system doesn't say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Programs that are started in here stay on one core, if there are several."""
    allowed = cores()
    if len(allowed) > 1:
        os.sched_setaffinity(0, {allowed[number % len(allowed)]})
    try:
        yield
    finally:
        if len(allowed) > 1:
            os.sched_setaffinity(0, allowed)


def run(url: str, contestant: Contestant, work: str, count: int) -> Figures:
    """Seconds of wall clock, of the client's and of the server's CPU; raises `WrongCount`."""
    redis = Redis.from_url(url, protocol=2)
    prepare(redis, contestant, work, count)
    figures = timed(redis, [contestant.command(work, url, count)])
    verify(redis, contestant, work, count)
    redis.close()
    return {"count": count, **figures}


def prepare(redis: Any, contestant: Contestant, work: str, count: int) -> None:
    """Leave on the server only what the work starts from."""
    empty(redis)
    if work in works.CONSUMING and not contestant.of_its_own:
        fill(redis, count)


def empty(redis: Any) -> None:
    """Leave nothing on the server but stock."""
    redis.flushall()
    redis.hset("stock", mapping={f"{product}:available": works.PLENTY for product in works.PRODUCTS})


def fill(redis: Any, count: int, lines: int = 3, *, sampled: bool = False) -> None:
    """Append so many orders; `sampled` if whoever placed them asked for their trace to be recorded."""
    payloads: Iterable[bytes] = _payloads(count, lines)
    if sampled:
        payloads = (payload.replace(b'-00"', b'-01"') for payload in payloads)
    payloads = list(payloads)
    for first in range(0, count, works.BATCH):
        pipeline = redis.pipeline(transaction=False)
        for payload in payloads[first : first + works.BATCH]:
            pipeline.xadd("orders_stream", {"event": payload})
        pipeline.execute()


@lru_cache(maxsize=4)
def _payloads(count: int, lines: int) -> list[bytes]:
    return works.payloads(count, lines)


def timed(
    redis: Any, commands: Sequence[Sequence[str]], *, core: int | None = 1, environment: Mapping[str, str] = {}
) -> Figures:
    """What the programs took together, once all were ready; by default on a core of their own, not the server's."""
    with nullcontext() if core is None else on_core(core):
        processes = [_started(command, environment) for command in commands]
    watchdog = threading.Timer(PATIENCE, _end, [processes])
    watchdog.start()
    try:
        for process in processes:
            if _line(process) != "ready":
                raise WrongCount(f"{process.args!r} did not become ready")
        before = server_cpu(redis)
        for process in processes:
            _go(process)
        answers = [json.loads(_line(process) or "{}") for process in processes]
        server = server_cpu(redis) - before
    finally:
        watchdog.cancel()
        _end(processes)
        for process in processes:
            process.communicate()  # closes its pipes
    wall, cpu = max(each["wall"] for each in answers), sum(each["cpu"] for each in answers)
    return {"wall": wall, "cpu": cpu, "server": server}


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def _go(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.write("go\n")
        process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line:
        raise WrongCount(f"{process.args!r} ended with status {process.wait()}")
    return line


def server_cpu(redis: Any) -> float:
    """Seconds of CPU that the server has used."""
    used = redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def verify(redis: Any, contestant: Contestant, work: str, count: int) -> None:
    """Raise `WrongCount` unless the whole work was done."""
    found = _found_in_queues(redis, work) if contestant.name == "BullMQ" else _found(redis, work)
    for what, number in found.items():
        if number != (0 if what == "pending" else count):
            raise WrongCount(f"{work}, {contestant.name}: {what} is {number:,} after {count:,} events")


def _found(redis: Any, work: str) -> dict[str, int]:
    """Everything here but what is pending has to be as many as there were events."""
    found = {"published": redis.xlen("orders_stream")}
    if work in works.CONSUMING:
        found["pending"] = sum(row["pending"] for row in redis.xinfo_groups("orders_stream"))
        found["read"] = sum(row["entries-read"] or 0 for row in redis.xinfo_groups("orders_stream"))
    if work in (works.PIPE, works.RESERVE):
        found["outcomes"] = redis.xlen("inventory_stream")
    if work == works.RESERVE:
        left = sum(map(int, redis.hvals("stock")))
        found["taken / 3"] = (works.PLENTY * len(works.PRODUCTS) - left) // 3
        found["reservations"] = sum(1 for _ in redis.scan_iter("reservation:*", count=10_000))
    return found


def _found_in_queues(redis: Any, work: str) -> dict[str, int]:
    if work == works.PUBLISH_AWAITING:
        return {"published": redis.llen("bull:orders:wait")}
    found = {"completed": redis.zcard("bull:orders:completed"), "pending": redis.llen("bull:orders:active")}
    return found | ({"outcomes": redis.llen("bull:inventory:wait")} if work == works.PIPE else {})
