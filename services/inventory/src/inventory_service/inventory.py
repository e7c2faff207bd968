"""The inventory as it stands in the store: asked for, and put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic_core import from_json

from contracts import Line, ProductId
from eventcore import Store, Value
from eventcore.events.odd_records import OddRecords

from .domain.reservation import reservation
from .domain.stock import Level, available, put, reserved, stock, stock_index


class Reservation(Value):
    """What has become of an order here."""

    order_id: str
    items: tuple[Line, ...]
    status: Literal["reserved", "rejected", "released"]


class Unreadable(Exception):
    """It is there, and this version can't read it."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Stock and reservations. Every method raises `eventcore.Unavailable` when the store can't be reached."""

    store: Store
    _odd_levels: OddRecords = field(default_factory=lambda: OddRecords("stock of"))
    _odd_reservations: OddRecords = field(default_factory=lambda: OddRecords("reservation"))

    async def put(self, levels: Mapping[ProductId, int]) -> None:
        """Set what is available of each product: all of them, or none."""
        await self.store.commit(put(levels))

    async def level(self, product_id: str) -> Level | None:
        """The stock of one product, if it is known. Raises `Unreadable`."""
        [kept] = await self._kept([product_id])
        if kept[0] is None:
            return None
        level = self._level(product_id, *kept)
        if level is None:
            raise Unreadable
        return level

    async def levels(self, *, after: bytes | None, count: int) -> tuple[list[Level], bytes | None]:
        """The stock of the first `count` products whose ids come after this one, in the order of ids; where to go on.

        What can't be read is left out. Where to go on is `None` when there are no more.
        """
        start = b"-" if after is None else b"(" + after
        key = self.store.key(stock_index.key)
        members = await self.store.commands.execute("ZRANGE", key, start, "+", "BYLEX", "LIMIT", 0, count + 1)
        shown, more = members[:count], len(members) > count
        ids = [each for each in map(self._id, shown) if each is not None]
        rows = zip(ids, await self._kept(ids), strict=True)
        levels = (self._level(product_id, *kept) for product_id, kept in rows if kept[0] is not None)
        return [level for level in levels if level is not None], shown[-1] if more else None

    async def reservation(self, order_id: str) -> Reservation | None:
        """What has become of an order, if it has arrived here. Raises `Unreadable`."""
        key = self.store.key(reservation(order_id).key)
        status, order = await self.store.commands.execute("HMGET", key, "status", "order")
        if order is None:
            return None
        found = self._odd_reservations.read(order_id, lambda: _reservation(status, order))
        if found is None:
            raise Unreadable
        return found

    async def _kept(self, product_ids: Sequence[str]) -> list[tuple[bytes | None, bytes | None]]:
        """What is kept of the available and of the reserved pieces of each product."""
        if not product_ids:
            return []
        names = [place(product_id).name for product_id in product_ids for place in (available, reserved)]
        values = await self.store.commands.execute("HMGET", self.store.key(stock.key), *names)
        return list(zip(values[::2], values[1::2], strict=True))

    def _level(self, product_id: str, free: bytes | None, held: bytes | None) -> Level | None:
        def read() -> Level:
            return Level(product_id=product_id, available=int(free or 0), reserved=int(held or 0))

        return self._odd_levels.read(product_id, read)

    def _id(self, member: bytes) -> str | None:
        """The id of a product, as the index holds it."""
        return self._odd_levels.read(repr(member), member.decode)


def _reservation(status: bytes, order: bytes) -> Reservation:
    return Reservation.model_validate({**from_json(order), "status": status.decode()})
