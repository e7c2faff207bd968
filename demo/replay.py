"""Replaying orders: posted over a bounded number of connections, then watched until nothing is on its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from .orders import Order, Workload
from .shop import Reply, Shop
from .streams import Snapshot, Streams
from .tasks import end

_GLANCE = 0.1
_MOST_ATTEMPTS = 20  # at one order, while the order service says 503 or is out of reach
_LONGEST_PAUSE = 5.0
STUCK_AFTER = 30.0


class Posted(NamedTuple):
    """An accepted order. Times are seconds since 1970: just before the POST was sent, just after it was answered."""

    order: Order
    order_id: str
    trace_id: str
    sent_at: float
    answered_at: float


class Refused(NamedTuple):
    """An order that was not accepted."""

    order: Order
    why: str


@dataclass
class Replay:
    """What came of posting. Times are seconds since 1970; `settled_at` is when nothing was on its way any more."""

    posted: list[Posted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    began_at: float = field(default_factory=time.time)
    posted_at: float = 0.0
    settled_at: float = 0.0
    resent: int = 0


class Stuck(Exception):
    """Events are on their way and don't move; the message says which group has them."""


Look = Callable[[Replay, Snapshot], None]


async def replay(shop: Shop, streams: Streams, workload: Workload, look: Look) -> Replay:
    """Post every order and wait until all that follows from it is done; `look` is shown how far it is, all the while.

    Raises `Stuck`.
    """
    run = Replay()
    orders = iter(enumerate(workload.orders, start=1))
    watching = asyncio.create_task(_watch(streams, run, look))
    try:
        await asyncio.gather(*(_post_all(shop, orders, run) for _ in range(workload.connections)))
        run.posted_at = time.time()
        await _settle(streams, run)
    finally:
        await end(watching)
    look(run, await streams.snapshot())
    return run


async def _post_all(shop: Shop, orders: Iterator[tuple[int, Order]], run: Replay) -> None:
    for number, order in orders:
        sent_at = time.time()
        reply = await _post(shop, order, f"demo-{number}", run)
        if reply.status == 202:
            run.posted.append(Posted(order, reply.content["id"], reply.trace_id, sent_at, time.time()))
        else:
            why = reply.content.get("detail") or reply.content.get("title") or ""
            run.refused.append(Refused(order, f"{reply.status} {why}".strip()))


async def _post(shop: Shop, order: Order, key: str, run: Replay) -> Reply:
    """Post until there is an answer other than "try later"; the key makes repeating harmless."""
    body = order.body()
    reply = Reply(0, {"title": "no answer"}, "", 0)
    for attempt in range(_MOST_ATTEMPTS):
        run.resent += attempt > 0
        pause = min(0.1 * 2**attempt, _LONGEST_PAUSE)
        try:
            reply = await shop.post(body, key)
            if reply.status != 503:
                return reply
            pause = min(reply.retry_after, _LONGEST_PAUSE)
        except aiohttp.ClientError as error:
            reply = Reply(0, {"title": f"no answer: {error}"}, "", 0)
        await asyncio.sleep(pause)
    return reply


async def _watch(streams: Streams, run: Replay, look: Look) -> None:
    while True:
        look(run, await streams.snapshot())
        await asyncio.sleep(_GLANCE)


async def _settle(streams: Streams, run: Replay) -> None:
    last, moved_at = "", time.monotonic()
    while not (snapshot := await streams.snapshot()).idle:
        if snapshot.busy != last:
            last, moved_at = snapshot.busy, time.monotonic()
        elif time.monotonic() - moved_at > STUCK_AFTER:
            raise Stuck(f"nothing has moved for {STUCK_AFTER:g} s: {snapshot.busy}")
        await asyncio.sleep(_GLANCE / 5)
    run.settled_at = time.time()
