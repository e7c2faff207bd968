"""Two consumer processes of one group beside one, with Redis on the same machine."""

from __future__ import annotations

from redis import Redis

from . import variants, works
from .figures import Run
from .running import WrongCount, fill, timed

# Seconds of computing that a handler with a rule of its own may take; an empty one measures Redis.
BUSY = 0.0002


def measure(url: str, how_many: int, count: int, *, computing: bool) -> Run:
    """Consume so many events by so many processes. Raises `WrongCount`."""
    redis = Redis.from_url(url, protocol=2)
    redis.flushall()
    fill(redis, count)
    command = variants.command(url, count, works.ACKNOWLEDGE, busy=BUSY if computing else 0)
    run = timed(redis, [command] * how_many, core=None)
    [row] = redis.xinfo_groups("orders_stream")
    if row["entries-read"] != count or row["pending"]:
        raise WrongCount(f"{how_many} processes: {row}")
    redis.close()
    return {**run, "count": count}
