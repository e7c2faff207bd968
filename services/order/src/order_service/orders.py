"""The orders as they stand in the store: placed, cancelled, looked up, listed."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eventcore import GuardFailed, SortedSet, Store, Transaction, Unreadable, sound, timestamp
from eventcore.events.odd_records import OddRecords

from .domain import progress
from .domain.order import NewOrder, Order, index, order
from .domain.placing import Once, place, placed_before
from .domain.status import OrderStatus

# How many ids housekeeping looks at in one go.
PAGE = 1000
# What the items of one page's orders may take, about: a page of large orders is shorter than its limit.
PAGE_BYTES = 256 * 1024
# How often to look further for the orders of one customer among those of others.
MOST_LOOKS = 20
# Each takes about twenty times its size until it is written.
PAGES_AT_ONCE = 2


# An order's fields, or why they can't be read.
Kept = dict[str, str] | Unreadable


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

    async def newest(self, wanted: SoughtOrders, *, before: str | None, count: int) -> tuple[list[Order], str | None]:
        """The newest of these orders whose ids come before this one, newest first, and where to go on.

        What can't be read is left out. At most `count`, and about `PAGE_BYTES` of them; where to go on is `None` when
        there are no more.
        """
        async with self._pages:
            return await self._page(wanted, before, count)

    async def _page(self, wanted: SoughtOrders, before: str | None, count: int) -> tuple[list[Order], str | None]:
        found: list[Order] = []
        room = PAGE_BYTES
        for _ in range(MOST_LOOKS):
            ids, further = await self._newest_ids(wanted.statuses, before, count - len(found))
            fitting, room = await self._fitting(ids, room)
            before = further if len(fitting) == len(ids) else fitting[-1]
            # Some may have expired, or moved on since the index was read.
            orders = (self._read(order_id, reply) for order_id, reply in (await self._kept(fitting)).items())
            found += (each for each in orders if each is not None and wanted.holds(each))
            if before is None or len(found) == count or room <= 0:
                break
        return found, before

    async def _fitting(self, ids: list[str], room: int) -> tuple[list[str], int]:
        """The first of these orders until their items fill the room, and the room that is left."""
        asked = [("HSTRLEN", self.store.key(order(each).key), "items") for each in ids]
        for number, size in enumerate(await self.store.commands.pipeline(asked), 1):
            room -= size if isinstance(size, int) else 0  # the key holds something else
            if room <= 0:
                return ids[:number], room
        return ids, room

    async def forget(self) -> None:
        """Take orders out of the indexes that have expired; only those placed long enough ago are looked at."""
        # By the server's clock, by which orders expire; this machine's may be off.
        latest = int((await self.store.now() - self.keep).timestamp() * 1000)
        end = f"{latest >> 16:08x}-{latest & 0xFFFF:04x}"  # as the id of an order begins that was placed then
        for status in OrderStatus:
            start: str | None = None
            while True:
                found = await self.store.read(index(status).page(after=start, before=end, count=PAGE))
                await self._forget_gone(index(status), self._odd.readable("in an index", found.each))
                if (start := found.next) is None:
                    break

    async def _forget_gone(self, place: SortedSet, ids: Sequence[str]) -> None:
        exist = await self.store.read_each([order(each).exists for each in ids])
        if gone := [each for each, exists in zip(ids, exist, strict=True) if not exists]:
            await self.store.commit(Transaction(then=[place.remove(each) for each in gone]))

    async def _newest_ids(
        self, statuses: Iterable[OrderStatus], before: str | None, count: int
    ) -> tuple[list[str], str | None]:
        """The newest ids in these indexes, and where to go on.

        All are read at one moment, so that an order on its way from one to another is in one of them.
        """
        reads = [index(status).page(before=before, count=count, reverse=True) for status in statuses]
        pages = [sound(each) for each in await self.store.read_each(reads)]
        # Beyond the end of any page that is not the last, others may have what this one has not shown yet.
        end = max((each.next for each in pages if each.next is not None), default=None)
        ids = self._odd.readable("in an index", (order_id for each in pages for order_id in each.each))
        ids = [order_id for order_id in ids if end is None or order_id >= end]
        newest = heapq.nlargest(count, ids)
        return newest, newest[-1] if len(ids) > count else end

    async def _kept(self, order_ids: Sequence[str]) -> dict[str, Kept]:
        """The fields of those of these orders that exist, in the same order."""
        kept = await self.store.read_each([order(order_id) for order_id in order_ids])
        return {order_id: fields for order_id, fields in zip(order_ids, kept, strict=True) if fields}

    def _read(self, order_id: str, kept: Kept) -> Order | None:
        return self._odd.read(order_id, lambda: Order.read(order_id, sound(kept)))
