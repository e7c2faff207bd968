"""eventcore's consumers under other circumstances: more groups, handlers that take time, telemetry.

`python -m benchmarks.variants '{"work": "acknowledge", "groups": 8}' URL COUNT` is a program as `child` is.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence

import uvloop
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from contracts import OrderCreated
from eventcore import Router, Settings, Transaction, load
from eventcore.telemetry.configure import configure

from . import works
from .child import measure
from .ours import consuming_all

_MAKERS = {works.ACKNOWLEDGE: works.acknowledging, works.PIPE: works.piping, works.RESERVE: works.reserving}


def command(url: str, count: int, work: str, *, groups: int = 1, busy: float = 0) -> list[str]:
    """The program for one of the consuming works.

    Several groups each get every event; `busy` are seconds that the handler of "consume, acknowledge" computes for.
    """
    options = json.dumps({"work": work, "groups": groups, "busy": busy})
    return [sys.executable, "-m", "benchmarks.variants", options, url, str(count)]


def _routers(work: str, groups: int, busy: float) -> Sequence[Router]:
    if busy:
        return [_busy(busy)]
    if groups > 1:
        return [works.acknowledging(f"{works.GROUP}-{number}") for number in range(groups)]
    return [_MAKERS[work]()]


def _busy(seconds: float) -> Router:
    router = Router(group=works.GROUP)

    @router.on(OrderCreated)
    def compute(order: OrderCreated) -> Transaction:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return Transaction()

    return router


def main(options: str, url: str, count: str) -> None:
    """Measure one variant; telemetry is on where an `OTEL_…` variable says so."""
    chosen = json.loads(options)
    logging.disable(logging.CRITICAL)
    exports = any(name.startswith("OTEL_") for name in os.environ)
    flush = configure("bench", load(Settings)) if exports else lambda seconds: None
    prepare = consuming_all(lambda: _routers(chosen["work"], chosen["groups"], chosen["busy"]))
    answer = uvloop.run(measure(prepare(url, int(count)), ours=True, finish=_export))
    flush(5.0)
    print(json.dumps(answer), flush=True)


def _export() -> None:
    """Send the spans that are still waiting: a consumer that never rests has to find the time for them, too."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(60_000)


if __name__ == "__main__":
    main(*sys.argv[1:])
