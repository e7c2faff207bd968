"""What telemetry costs a consumer: off, on for events that nobody records, and recorded and exported to a receiver."""

from __future__ import annotations

import sys
import urllib.request

from redis import Redis

from demo.ports import free_port

from . import programs, running, variants
from .figures import Run
from .programs import Program
from .running import WrongCount

OFF, UNSAMPLED, EXPORTED = "off", "not sampled", "sampled and exported"
WAYS = (OFF, UNSAMPLED, EXPORTED)


def measure(url: str, way: str, work: str, count: int) -> Run:
    """Consume events whose trace is sampled or not. Raises `WrongCount`, also where spans are missing."""
    redis = Redis.from_url(url, protocol=2)
    running.empty(redis)
    running.fill(redis, count, sampled=way == EXPORTED)
    port = free_port()
    receiver = Program([sys.executable, "-m", "benchmarks.sink", str(port)], port=port)
    with programs.running([receiver], core=0):
        environment = {
            "OTEL_SDK_DISABLED": str(way == OFF).lower(),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_METRICS_EXPORTER": "none",
            # Nothing may be dropped, or dropping would look cheap.
            "OTEL_BSP_MAX_QUEUE_SIZE": str(2 * count + 2048),
        }
        run = running.timed(redis, [variants.command(url, count, work)], environment=environment)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/spans") as answer:
            spans = int(answer.read())
    if spans < (count if way == EXPORTED else 0) or (way != EXPORTED and spans):
        raise WrongCount(f"telemetry {way}: {spans:,} spans for {count:,} events")
    redis.close()
    return {**run, "count": count, "spans": spans}
