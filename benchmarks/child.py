"""One contestant, once, in a process of its own.

`python -m benchmarks.child WHO WORK URL COUNT` makes everything ready, prints `ready`, waits for a line, works, and
prints what it took as one line of JSON. Programs in other languages do the same.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module

import uvloop

from eventcore.web.run import relieve_collector

from .contestants import MODULES
from .shapes import Timed


async def measure(
    prepared: Awaitable[Timed], *, ours: bool, finish: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """Wall and CPU seconds of the timed part, to which `finish` belongs."""
    timed = await prepared
    if ours:
        relieve_collector()  # as `run` does in every service
    gc.collect()
    print("ready", flush=True)
    sys.stdin.readline()
    wall, cpu = time.perf_counter(), time.process_time()
    await timed()
    finish()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main(who: str, work: str, url: str, count: int) -> None:
    """Measure a contestant."""
    logging.disable(logging.CRITICAL)
    prepare = import_module(MODULES[who]).CONTESTANTS[who][work]
    print(json.dumps(uvloop.run(measure(prepare(url, count), ours=who.startswith("eventcore")))))


if __name__ == "__main__":
    contestant, what, address, number = sys.argv[1:]
    main(contestant, what, address, int(number))
