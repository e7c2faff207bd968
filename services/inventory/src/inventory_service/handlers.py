"""What the inventory does about orders."""

from __future__ import annotations

from contracts import OrderCancelled, OrderCreated
from eventcore import Router, Transaction

from .domain import reservation
from .settings import InventorySettings


def inventory_router(settings: InventorySettings) -> Router:
    """The handlers of `inventory-group`."""
    router = Router(group="inventory-group")

    @router.on(OrderCreated)
    def reserve(order: OrderCreated) -> Transaction:
        """Stock, reservation, outcome and acknowledgement commit together, or not at all."""
        return reservation.reserve(order, keep=settings.keep)

    @router.on(OrderCancelled)
    def release(order: OrderCancelled) -> Transaction:
        """So do the way back and its event."""
        return reservation.release(order, keep=settings.keep)

    return router
