"""What the notification service does about the inventory's events: it tells the customer."""

from __future__ import annotations

from datetime import timedelta

from contracts import InventoryRejected, InventoryReleased, InventoryReserved
from eventcore import Metadata, RetryPolicy, Router, Transaction

from .delivering import Courier, patience
from .domain.telling import Outcome, notification


def notification_router(courier: Courier, *, attempts: int) -> Router:
    """The handlers of `notification-group`."""
    router = Router(
        group="notification-group",
        retry=RetryPolicy(attempts=attempts),
        timeout=patience + timedelta(minutes=1),  # `patience` is to run out first
    )

    @router.on(InventoryReserved)
    @router.on(InventoryRejected)
    @router.on(InventoryReleased)
    async def tell(event: Outcome, metadata: Metadata) -> Transaction:
        """Tell the customer by every channel; the records commit with the acknowledgement."""
        return await courier.tell(notification(event, metadata))

    return router
