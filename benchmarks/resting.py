"""A service that has nothing to do: how soon it is ready, and what it costs from then on."""

from __future__ import annotations

import time

from redis import Redis

from . import programs
from .figures import Run


def measure(url: str, module: str, seconds: float) -> Run:
    """Start a service, and leave it alone for so long."""
    with Redis.from_url(url) as redis:
        redis.flushall()
    start = time.perf_counter()
    with programs.running([programs.service(module, url)]) as [pid]:
        ready, started = time.perf_counter() - start, programs.cpu(pid)
        time.sleep(1)  # what a start leaves to be done is no rest
        before, since = programs.cpu(pid), time.perf_counter()
        time.sleep(seconds)
        used = (programs.cpu(pid) - before) / (time.perf_counter() - since)
        return {"ready": ready, "start cpu": started, "percent": used * 100, "megabytes": programs.memory(pid)}
