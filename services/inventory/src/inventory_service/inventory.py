"""The inventory as it stands in the store: asked for, and put."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic_core import from_json

from contracts import Line, ProductId
from eventcore import Store, Unreadable, Value, sound
from eventcore.events.odd_records import OddRecords

from .domain.reservation import reservation
from .domain.stock import Level, available, put, reserved, stock_index


class Reservation(Value):
    """What has become of an order here."""

    order_id: str
    items: tuple[Line, ...]
    status: Literal["reserved", "rejected", "released"]


Kept = int | Unreadable | None


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
        free, held = await self.store.read_each([available(product_id).as_int, reserved(product_id).as_int])
        if free is None:
            return None
        level = self._level(product_id, free, held)
        if level is None:
            raise Unreadable(product_id)
        return level

    async def levels(self, *, after: str | None, count: int) -> tuple[list[Level], str | None]:
        """The stock of the first `count` products whose ids come after this one, in the order of ids; where to go on.

        What can't be read is left out. Where to go on is `None` when there are no more.
        """
        page = await self.store.read(stock_index.page(after=after, count=count))
        known = self._odd_levels.readable("in the index", page.each)
        kept = await self.store.read_each([place(each).as_int for each in known for place in (available, reserved)])
        levels = map(self._level, known, kept[::2], kept[1::2])
        return [level for level in levels if level is not None], page.next

    async def reservation(self, order_id: str) -> Reservation | None:
        """What has become of an order, if it has arrived here. Raises `Unreadable`."""
        place = reservation(order_id)
        status, order = await self.store.read_each([place["status"], place["order"]])
        if order is None:
            return None
        found = self._odd_reservations.read(order_id, lambda: _reservation(sound(status), sound(order)))
        if found is None:
            raise Unreadable(order_id)
        return found

    def _level(self, product_id: str, free: Kept, held: Kept) -> Level | None:
        """A level as it is kept; `None` where there is none, or it can't be read."""
        if free is None:
            return None
        return self._odd_levels.read(
            product_id,
            lambda: Level(product_id=product_id, available=sound(free) or 0, reserved=sound(held) or 0),
        )


def _reservation(status: str | None, order: str | None) -> Reservation:
    return Reservation.model_validate({**from_json(order or ""), "status": status})
