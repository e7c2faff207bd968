"""What an order's durability costs: kept in memory, on disk or by a replica before it is accepted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from redis import Redis

from demo.measures import percentile
from eventcore.testing.server import Server, ServerKind

from . import posting, programs
from .figures import Run
from .running import WrongCount

WAYS = ("memory", "disk", "replica")


@contextmanager
def servers(kind: ServerKind) -> Iterator[str]:
    """A server with an append-only file and one replica."""
    with (
        Server(kind=kind, append_only=True) as primary,
        Server(kind=kind, options={"replicaof": f"127.0.0.1 {primary.port}"}),
    ):
        redis = Redis.from_url(primary.url)
        while not redis.info("replication")["connected_slaves"]:
            time.sleep(0.05)
        redis.close()
        yield primary.url


def measure(url: str, way: str, count: int) -> Run:
    """POST so many orders over 64 connections. Raises `WrongCount`."""
    redis = Redis.from_url(url, protocol=2)
    redis.flushall()
    # A server that syncs once a second may answer before that (Valkey does), and is refused.
    redis.config_set("appendfsync", "always" if way == "disk" else "everysec")
    program = programs.service("order_service", url, ORDER_DURABILITY=way)
    with programs.running([program]) as [pid]:
        before = programs.cpu(pid)
        wall, latencies = uvloop.run(posting.drive(program.port, count))
        used = programs.cpu(pid) - before
    if redis.xlen("orders_stream") != count:
        raise WrongCount(f"durability {way}: {redis.xlen('orders_stream'):,} of {count:,} orders")
    redis.close()
    return {
        "count": count,
        "wall": wall,
        "cpu": used,
        "p50": percentile(latencies, 50) * 1000,
        "p99": percentile(latencies, 99) * 1000,
    }
