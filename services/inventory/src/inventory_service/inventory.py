"""The inventory as it stands in the store: asked for, and put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic_core import from_json

from contracts import Line, ProductId
from eventcore import Store, Value

from .domain.reservation import reservation
from .domain.stock import Level, available, index, put, reserved, stock


class Reservation(Value):
    """What has become of an order here."""

    order_id: str
    items: tuple[Line, ...]
    status: Literal["reserved", "rejected", "released"]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Stock and reservations. Every method raises `eventcore.Unavailable` when the store can't be reached."""

    store: Store

    async def put(self, levels: Mapping[ProductId, int]) -> None:
        """Set what is available of each product: all of them, or none."""
        await self.store.commit(put(levels))

    async def level(self, product_id: str) -> Level | None:
        """The stock of one product, if it is known."""
        return next(iter(await self._levels([product_id])), None)

    async def levels(self, *, after: bytes | None, count: int) -> list[Level]:
        """The stock of the first `count` products whose ids come after this one, in the order of ids."""
        start = b"-" if after is None else b"(" + after
        execute, key = self.store.commands.execute, self.store.key(index.key)
        ids = await execute("ZRANGE", key, start, "+", "BYLEX", "LIMIT", 0, count)
        return await self._levels([product_id.decode() for product_id in ids])

    async def reservation(self, order_id: str) -> Reservation | None:
        """What has become of an order, if it has arrived here."""
        key = self.store.key(reservation(order_id).key)
        status, order = await self.store.commands.execute("HMGET", key, "status", "order")
        return None if order is None else Reservation.model_validate({**from_json(order), "status": status.decode()})

    async def _levels(self, product_ids: Sequence[str]) -> list[Level]:
        if not product_ids:
            return []
        names = [place(product_id).name for product_id in product_ids for place in (available, reserved)]
        values = await self.store.commands.execute("HMGET", self.store.key(stock.key), *names)
        return [
            Level(product_id=product_id, available=int(free), reserved=int(held or 0))
            for product_id, free, held in zip(product_ids, values[::2], values[1::2], strict=True)
            if free is not None
        ]
