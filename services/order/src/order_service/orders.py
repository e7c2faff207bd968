"""The orders as they stand in the store: placed, cancelled, looked up, listed."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from eventcore import GuardFailed, Store, timestamp

from .domain import progress
from .domain.order import NewOrder, Order, index, order
from .domain.placing import Once, place, placed_before
from .domain.status import Status

# How many ids housekeeping looks at in one go.
page = 1000


@dataclass(frozen=True, slots=True)
class Orders:
    """All orders, each kept for `keep` after its last change.

    Every method raises `eventcore.Unavailable` when the store can't be reached, with nothing half done.
    """

    store: Store
    keep: timedelta

    async def place(self, new: NewOrder, once: Once | None) -> str:
        """Have this order and its event, unless the same was asked `once` before; the id of the order.

        Raises `KeyReused` where something else was asked with that key.
        """
        try:
            await self.store.commit(place(new, once, keep=self.keep), resend=True)
        except GuardFailed as failed:
            return placed_before(failed.found, new, once)
        return new.id

    async def cancel(self, order_id: str) -> None:
        """Cancel an order. Raises `UnknownOrder` or `NotCancellable`."""
        await self.store.commit(progress.cancel(order_id, at=timestamp(), keep=self.keep), resend=True)

    async def find(self, order_id: str) -> Order | None:
        """The order with this id."""
        return next(iter(await self._existing([order_id])), None)

    async def newest(self, statuses: Sequence[Status], *, before: bytes | None, count: int) -> list[Order]:
        """The newest `count` orders of these statuses whose ids come before this one, newest first."""
        found: list[Order] = []
        while missing := count - len(found):
            ids = await self._newest_ids(statuses, before=before, count=missing)
            # Some may have expired, or moved on since the index was read.
            found += [each for each in await self._existing([each.decode() for each in ids]) if each.status in statuses]
            if len(ids) < missing:
                break
            before = ids[-1]
        return found

    async def forget(self) -> None:
        """Take orders out of the indexes that have expired; only those placed long enough ago are looked at."""
        latest = int((time.time() - self.keep.total_seconds()) * 1000)
        end = f"({latest >> 16:08x}-{latest & 0xFFFF:04x}"  # as the id of an order begins that was placed then
        for status in Status:
            key, start = self.store.key(index(status).key), "-"
            while ids := await self._execute("ZRANGE", key, start, end, "BYLEX", "LIMIT", 0, page):
                exist = await self._ask([("EXISTS", self.store.key(order(each.decode()).key)) for each in ids])
                if gone := [each for each, exists in zip(ids, exist, strict=True) if not exists]:
                    await self._execute("ZREM", key, *gone)
                start = f"({ids[-1].decode()}"

    async def _newest_ids(self, statuses: Sequence[Status], *, before: bytes | None, count: int) -> list[bytes]:
        """All indexes are read at one moment, so that an order on its way from one to another is in one of them."""
        last = b"+" if before is None else b"(" + before
        reads = [
            ("ZRANGE", self.store.key(index(status).key), last, "-", "BYLEX", "REV", "LIMIT", 0, count)
            for status in statuses
        ]
        *_, pages = await self._ask([("MULTI",), *reads, ("EXEC",)])
        return heapq.nlargest(count, (member for page in pages for member in page))

    async def _existing(self, order_ids: Sequence[str]) -> list[Order]:
        replies = await self._ask([("HGETALL", self.store.key(order(order_id).key)) for order_id in order_ids])
        return [
            Order.read(order_id, _fields(reply)) for order_id, reply in zip(order_ids, replies, strict=True) if reply
        ]

    async def _execute(self, *command: str | bytes | int) -> Any:
        return await self.store.commands.execute(*command)

    async def _ask(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        replies = await self.store.commands.pipeline(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
