"""Makes whatever service this interpreter runs the next version of itself: one that writes newer events.

Python imports a module of this name at every start, before the program; it is found because this folder is in
PYTHONPATH. `E2E_VERSION` says which version: `next` writes newer minor versions, `major` a newer major one. That is all
that differs: the program reads everything that its own version and older ones wrote, as a real one would.
"""

from __future__ import annotations

import os
from typing import Any

import contracts


def _next() -> None:
    class OrderCreated(
        contracts.OrderCreated, type="order.created", version="1.2", stream="orders_stream", lane="order_id"
    ):
        """Since 1.2 it may say by which way the customer came."""

        sales_channel: str | None = "web"

    class InventoryReserved(
        contracts.InventoryReserved,
        type="inventory.reserved",
        version="1.1",
        stream="inventory_stream",
        lane="order_id",
    ):
        """Since 1.1 it may say where everything is put aside."""

        warehouse: str | None = "north"

    _replace(OrderCreated=OrderCreated, InventoryReserved=InventoryReserved)


def _major() -> None:
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "EUR"}

    class OrderCreated(
        contracts.OrderCreated,
        type="order.created",
        version="2.0",
        stream="orders_stream",
        lane="order_id",
        upcasters={1: with_currency},
    ):
        """Since 2.0 it says in which currency."""

        currency: str = "EUR"

    _replace(OrderCreated=OrderCreated)


def _replace(**events: type) -> None:
    """Whoever imports an event from `contracts` from now on gets the new one."""
    for name, event in events.items():
        setattr(contracts, name, event)


{"next": _next, "major": _major}[os.environ["E2E_VERSION"]]()
