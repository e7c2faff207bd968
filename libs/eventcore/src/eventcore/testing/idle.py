"""Waiting without sleeping: for a condition, or until consumers have nothing left to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeVar, overload

from redis.exceptions import RedisError

from eventcore.commit.store import Store
from eventcore.consume.consumer import Consumer
from eventcore.server.keys import aside_key

T = TypeVar("T")

_BETWEEN_LOOKS = 0.005


@overload
async def until(condition: Callable[[], Awaitable[T]], *, timeout: float = ..., what: str = ...) -> T: ...
@overload
async def until(condition: Callable[[], T], *, timeout: float = ..., what: str = ...) -> T: ...
async def until(condition: Callable[[], Any], *, timeout: float = 10.0, what: str = "") -> Any:
    """Wait until `condition()` is true, and return what it gave; a coroutine function will do as well.

    Raises `AssertionError` naming `what` after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if found := await answer if isawaitable(answer) else answer:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"within {timeout:g} s this did not come true: {what or condition}")
        await asyncio.sleep(_BETWEEN_LOOKS)


@asynccontextmanager
async def running(*consumers: Consumer) -> AsyncIterator[None]:
    """Run consumers beside the block; at its end they are stopped and have left their groups.

    Raises what a consumer's `run` raises, at the latest at the end of the block.
    """
    tasks = [asyncio.create_task(each.run(), name=f"running-{each.member.consumer}") for each in consumers]
    try:
        yield
    finally:
        for each in consumers:
            each.stop()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome  # also where the block has failed: by this, most likely


async def run_until_idle(store: Store, *consumers: Consumer, timeout: float = 10.0) -> None:
    """Run consumers until nothing is left to do, then stop them.

    That is when every group they belong to has read its streams to the end (lag 0), has nothing pending and nothing put
    aside, and they hold nothing. `AssertionError` with a report of what is left after `timeout` seconds.
    """
    async with running(*consumers):
        await until_idle(store, *consumers, timeout=timeout)


async def until_idle(store: Store, *consumers: Consumer, timeout: float = 10.0) -> None:
    """Wait until running consumers have nothing left to do; as `run_until_idle`, but lets them go on."""
    deadline = time.monotonic() + timeout
    while True:
        for each in consumers:
            if each.draining:
                raise AssertionError(f"{each.member.consumer} of {each.router.group} ended before all was done")
        groups = await _look(store, consumers)
        if groups is not None and all(group.idle for group in groups) and not any(_busy(each) for each in consumers):
            return
        if time.monotonic() > deadline:
            raise AssertionError(await _report(store, groups, consumers, timeout))
        await asyncio.sleep(_BETWEEN_LOOKS)


@dataclass(frozen=True, slots=True)
class _Group:
    """What is left to do in one group on one stream."""

    stream: str
    group: str
    lag: int
    pending: int
    aside: int = 0

    @property
    def idle(self) -> bool:
        return self.lag == self.pending == self.aside == 0


def _busy(consumer: Consumer) -> bool:
    return not consumer.joined or len(consumer.holding) > 0


async def _look(store: Store, consumers: Sequence[Consumer]) -> list[_Group] | None:
    """All groups at one moment, so that nothing on its way from one to another is missed; `None` if one isn't there."""
    places = [(stream, each.router.group) for each in consumers for stream in each.member.streams]
    look = store.redis.pipeline(transaction=True)
    for stream, group in places:
        look.xinfo_groups(store.key(stream))
        look.zcard(store.key(aside_key(stream, group)))
    try:
        replies = await look.execute()
        both = zip(places, replies[::2], replies[1::2], strict=True)
        return [await _group(store, *place, rows, aside) for place, rows, aside in both]
    except (RedisError, LookupError):
        return None


async def _group(store: Store, stream: str, group: str, rows: Iterable[dict[str, Any]], aside: int) -> _Group:
    row = {row["name"]: row for row in rows}[group.encode()]
    lag = row["lag"]
    if lag is None:  # Redis has lost count (redis#13337): then we count
        unread = await store.redis.xrange(store.key(stream), f"({row['last-delivered-id'].decode()}", "+")
        lag = len(unread or ())
    return _Group(stream, group, lag, row["pending"], aside)


async def _report(store: Store, groups: Iterable[_Group] | None, consumers: Iterable[Consumer], timeout: float) -> str:
    lines = [f"not idle within {timeout:g} s"]
    if groups is None:
        lines.append("a stream or a group is missing, or Redis is out of reach")
    for group in groups or ():
        if not group.idle:
            lines.append(
                f"{group.stream} / {group.group}: lag {group.lag}, {group.pending} pending, {group.aside} aside"
            )
            for row in await store.redis.xpending_range(store.key(group.stream), group.group, "-", "+", 10):
                holder, idle, attempt = row["consumer"].decode(), row["time_since_delivered"], row["times_delivered"]
                lines.append(f"  {row['message_id'].decode()} held by {holder} for {idle} ms, attempt {attempt}")
    for each in consumers:
        held, waiting = len(each.holding), each.holding.waiting
        if held or each.problem:
            trouble = f" ({each.problem})" if each.problem else ""
            lines.append(f"{each.member.consumer}: {held} held, {waiting} of them waiting for another attempt{trouble}")
    return "\n  ".join(lines)
