"""Whether an event costs the same whatever else there is: a long stream, large orders, many groups, much pending.

One circumstance is a choice: how many entries are asked for at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis

from . import variants, works
from .figures import Run
from .running import WrongCount, empty, fill, timed

# A peer that holds what is pending, and is known to be alive for as long as anybody measures.
AT_ONCE = "entries in one read (CONSUMER_BATCH)"
_PEER, _IN_A_YEAR = "peer", 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class Circumstance:
    """What is different, and how much of it; `cost` is of one event, one line of an order or one delivery."""

    name: str
    size: int
    cost: str = "event"


def circumstances(*, full: bool) -> Iterator[Circumstance]:
    """From the usual to the extreme; the first of a name is what the others are compared with."""
    for size in (1_000, 100_000, 1_000_000) if full else (1_000, 50_000):
        yield Circumstance("entries in the stream", size)
    for size in (1, 10, 100):
        yield Circumstance("lines in an order", size, "line")
    for size in (1, 2, 8) if full else (1, 8):
        yield Circumstance("groups", size, "delivery")
    for size in (0, 10_000, 100_000) if full else (0, 10_000):
        yield Circumstance("pending for a peer", size)
    for size in (256, 1024, 64, 16):
        yield Circumstance(AT_ONCE, size)


def measure(url: str, where: Circumstance, count: int) -> Run:
    """Client and server CPU for each event (line, delivery). Raises `WrongCount`."""
    redis = Redis.from_url(url, protocol=2)
    empty(redis)
    lines, groups, work = 3, 1, works.ACKNOWLEDGE
    if where.name == "lines in an order":
        lines, work, count = where.size, works.RESERVE, max(200, count // (3 * where.size))
    if where.name == "groups":
        groups, count = where.size, count // where.size
    pending = where.size if where.name == "pending for a peer" else 0
    if where.name in _PREPARE:
        _PREPARE[where.name](redis, where.size)
    fill(redis, count, lines)
    command = variants.command(url, count, work, groups=groups)
    environment = {"STREAM_KEEP_ENTRIES": "2000000", "STREAM_CAP": "3000000"}
    if where.name == AT_ONCE:
        environment["CONSUMER_BATCH"] = str(where.size)
    run = timed(redis, [command], environment=environment)
    _verify(redis, where, groups, pending)
    redis.close()
    return {**run, "count": count * groups * (lines if where.cost == "line" else 1)}


def cost(run: Run) -> float:
    """Seconds of CPU, the client's and the server's, for each."""
    return float((run["cpu"] + run["server"]) / run["count"])


def _long_ago(redis: Any, size: int) -> None:
    """Entries that the group has finished with."""
    fill(redis, size)
    redis.xgroup_create("orders_stream", works.GROUP, id="0")
    redis.execute_command("XGROUP", "SETID", "orders_stream", works.GROUP, "$", "ENTRIESREAD", size)


def _held(redis: Any, size: int) -> None:
    """Entries that a living peer has been given and not finished with."""
    redis.xgroup_create("orders_stream", works.GROUP, id="0", mkstream=True)
    seconds, _ = redis.time()
    redis.zadd(f"orders_stream:{works.GROUP}:beats", {_PEER: seconds * 1000 + _IN_A_YEAR})
    fill(redis, size)
    for _ in range(0, size, 1_000):
        redis.xreadgroup(works.GROUP, _PEER, {"orders_stream": ">"}, count=1_000)


_PREPARE: dict[str, Callable[[Any, int], None]] = {"entries in the stream": _long_ago, "pending for a peer": _held}


def _verify(redis: Any, where: Circumstance, groups: int, pending: int) -> None:
    rows = redis.xinfo_groups("orders_stream")
    if len(rows) != groups or any(row["lag"] or row["pending"] != pending for row in rows):
        raise WrongCount(f"{where.size:,} {where.name}: the groups are {rows}")
