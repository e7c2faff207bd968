"""One contestant, once, in a process of its own: prints what it took as one line of JSON."""

from __future__ import annotations

import gc
import json
import logging
import sys
import time

import uvloop
from redis.asyncio import Redis

from eventcore.web.run import relieve_collector

from . import saga
from .contestants import works


async def measure(url: str, work: str, who: str, count: int) -> dict[str, float]:
    """Wall and CPU seconds of the timed part, and how much of the expected result is there."""
    if work == "saga":
        return await saga.measure(url, who, count)
    redis = Redis.from_url(url, protocol=2)
    await redis.flushall()
    timed = await works[work][who](url, count)
    if who == "eventcore":
        relieve_collector()  # as `run` does in every service
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await timed()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    answer = {"wall": wall, "cpu": cpu, "published": float(await redis.xlen("orders_stream"))}
    answer["outcomes"] = float(await redis.xlen("inventory_stream"))
    answer["pending"] = float(sum(row["pending"] for row in await redis.xinfo_groups("orders_stream")))
    await redis.aclose()
    return answer


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    address, what, contestant, number = sys.argv[1:]
    print(json.dumps(uvloop.run(measure(address, what, contestant, int(number)))))
