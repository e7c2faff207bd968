"""What the order service makes of the inventory's events. Those of orders that it does not know are acknowledged."""

from __future__ import annotations

from contracts import InventoryRejected, InventoryReleased, InventoryReserved
from eventcore import Router, Transaction, timestamp

from .domain import progress
from .settings import OrderSettings


def order_router(settings: OrderSettings) -> Router:
    """The handlers of `order-group`."""
    router = Router(group="order-group")

    @router.on(InventoryReserved)
    def confirm(event: InventoryReserved) -> Transaction:
        """A processing order is confirmed."""
        return progress.confirm(event, at=timestamp(), keep=settings.keep)

    @router.on(InventoryRejected)
    def reject(event: InventoryRejected) -> Transaction:
        """A processing order is rejected, or cancelled."""
        return progress.reject(event, at=timestamp(), keep=settings.keep)

    @router.on(InventoryReleased)
    def close(event: InventoryReleased) -> Transaction:
        """An order that still stands is cancelled."""
        return progress.close(event, at=timestamp(), keep=settings.keep)

    return router
