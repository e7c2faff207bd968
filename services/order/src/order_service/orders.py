"""The orders as they stand in the store: placed, cancelled, looked up, listed."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventcore import Conflict, GuardFailed, Store, timestamp
from eventcore.events.odd_records import OddRecords

from .domain import progress
from .domain.order import NewOrder, Order, index, order
from .domain.placing import Once, place, placed_before
from .domain.status import OrderStatus

# How many ids housekeeping looks at in one go.
PAGE = 1000
# What the orders of one page may hold, about: a page of large orders is shorter than its limit.
PAGE_BYTES = 512 * 1024
# How many orders are looked at before it is known how large they are.
FIRST_LOOK = 16
# Each takes about ten times its size until it is written.
PAGES_AT_ONCE = 4


class UnreadableOrder(Exception):
    """The order is there, and this version can't read it."""


@dataclass(frozen=True, slots=True)
class SoughtOrders:
    """Which orders: those of some statuses, of one customer or of all."""

    statuses: frozenset[OrderStatus] = frozenset(OrderStatus)
    customer_id: str | None = None

    def holds(self, order: Order) -> bool:
        """Whether this is one of them."""
        return order.status in self.statuses and self.customer_id in (None, order.customer_id)


@dataclass(frozen=True, slots=True)
class Orders:
    """All orders, each kept for `keep` after its last change.

    Every method raises `eventcore.Unavailable` when the store can't be reached, with nothing half done.
    """

    store: Store
    keep: timedelta
    _pages: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PAGES_AT_ONCE))
    _odd: OddRecords = field(default_factory=lambda: OddRecords("order"))

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
        """The order with this id. Raises `UnreadableOrder`."""
        kept = await self._kept([order_id])
        if not kept:
            return None
        found = self._read(order_id, kept[order_id])
        if found is None:
            raise UnreadableOrder(order_id)
        return found

    async def newest(
        self, wanted: SoughtOrders, *, before: bytes | None, count: int
    ) -> tuple[list[Order], bytes | None]:
        """The newest of these orders whose ids come before this one, newest first, and where to go on.

        What can't be read is left out. At most `count`, and about `PAGE_BYTES` of them; where to go on is `None` when
        there are no more.
        """
        async with self._pages:
            return await self._page(wanted, before, count)

    async def _page(self, wanted: SoughtOrders, before: bytes | None, count: int) -> tuple[list[Order], bytes | None]:
        found: list[Order] = []
        looked_at = size = 0
        look = min(FIRST_LOOK, count)
        while True:
            ids = await self._newest_ids(wanted.statuses, before=before, count=look + 1)
            kept = await self._kept([each for each in map(self._id, ids[:look]) if each is not None])
            looked_at, size = looked_at + look, size + sum(map(_size, kept.values()))
            # Some may have expired, or moved on since the index was read.
            orders = (self._read(order_id, reply) for order_id, reply in kept.items())
            found += (each for each in orders if each is not None and wanted.holds(each))
            if len(ids) <= look:
                return found, None
            before = ids[look - 1]
            if len(found) >= count or size >= PAGE_BYTES:
                return found, before
            room = (PAGE_BYTES - size) * looked_at // max(1, size)
            look = min(count - len(found), max(1, room))

    async def forget(self) -> None:
        """Take orders out of the indexes that have expired; only those placed long enough ago are looked at."""
        seconds, _ = await self._execute("TIME")  # by which orders expire; this machine's clock may be off
        latest = int(seconds) * 1000 - int(self.keep.total_seconds() * 1000)
        end = f"({latest >> 16:08x}-{latest & 0xFFFF:04x}"  # as the id of an order begins that was placed then
        for status in OrderStatus:
            key, start = self.store.key(index(status).key), b"-"
            while ids := await self._execute("ZRANGE", key, start, end, "BYLEX", "LIMIT", 0, PAGE):
                exist = await self._ask([("EXISTS", self.store.key(order("").key).encode() + each) for each in ids])
                if gone := [each for each, exists in zip(ids, exist, strict=True) if not exists]:
                    await self._execute("ZREM", key, *gone)
                start = b"(" + ids[-1]

    async def _newest_ids(self, statuses: Iterable[OrderStatus], *, before: bytes | None, count: int) -> list[bytes]:
        """All indexes are read at one moment, so that an order on its way from one to another is in one of them."""
        last = b"+" if before is None else b"(" + before
        reads = [
            ("ZRANGE", self.store.key(index(status).key), last, "-", "BYLEX", "REV", "LIMIT", 0, count)
            for status in statuses
        ]
        *_, pages = await self._ask([("MULTI",), *reads, ("EXEC",)])
        return heapq.nlargest(count, (member for page in pages for member in page))

    async def _kept(self, order_ids: Sequence[str]) -> dict[str, list[bytes] | Conflict]:
        """Fields and values of those of these orders that exist, in the same order; why not, where it is no hash."""
        asked = [("HGETALL", self.store.key(order(order_id).key)) for order_id in order_ids]
        replies = await self.store.commands.pipeline(asked)
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, Conflict):
                raise reply
        return {order_id: reply for order_id, reply in zip(order_ids, replies, strict=True) if reply}

    def _read(self, order_id: str, kept: Sequence[bytes] | Conflict) -> Order | None:
        if isinstance(kept, Conflict):
            self._odd.leave_out(order_id, kept)
            return None
        return self._odd.read(order_id, lambda: Order.read(order_id, _fields(kept)))

    def _id(self, member: bytes) -> str | None:
        """The id of an order, as an index holds it."""
        return self._odd.read(repr(member), member.decode)

    async def _execute(self, *command: str | bytes | int) -> Any:
        return await self.store.commands.execute(*command)

    async def _ask(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        replies = await self.store.commands.pipeline(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies


def _size(kept: Sequence[bytes] | Conflict) -> int:
    return 0 if isinstance(kept, Conflict) else sum(map(len, kept))


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
