"""A pod in a process of its own, started again when it dies: `python -m libs.eventcore.tests.crashing URL KIND NAMES`.

It ships orders until nothing is left to do, and says on standard output how often it died. An order whose id begins
with "killer" kills it; one that begins with "wedge" stops its event loop; one with "slow" takes half a second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback

from eventcore import Consumer, Router, Settings, Store, Transaction, publish
from eventcore.testing import run_until_idle

from .samples import EAGER, GROUP, Ordered, Shipped

MOST_LIVES = 20


def ship(order: Ordered) -> Transaction:
    if order.order_id.startswith("killer"):
        os._exit(9)
    if order.order_id.startswith("wedge"):
        time.sleep(3600)
    return Transaction(then=[publish(Shipped(order_id=order.order_id))])


async def ship_later(order: Ordered) -> Transaction:
    await asyncio.sleep(0.5 if order.order_id.startswith("slow") else 0.01)
    return ship(order)


async def live(url: str, kind: str, name: str) -> None:
    router = Router(group=GROUP, retry=EAGER)
    router.on(Ordered)(ship_later if kind == "async" else ship)
    settings = Settings(redis_url=url, pod_name=name, heartbeat_seconds=0.1, dead_after_seconds=0.5)
    async with Store(settings, source="crashing") as store:
        await run_until_idle(store, Consumer(store, router), timeout=20)


def main(url: str, kind: str, names: str) -> None:
    """Forked, not started anew, because importing everything takes longer than a life."""
    for life in range(MOST_LIVES):
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(live(url, kind, "pod-1" if names == "same" else f"pod-{life}"))
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if (code := os.waitstatus_to_exitcode(status)) != 9:
            print(life)
            sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
