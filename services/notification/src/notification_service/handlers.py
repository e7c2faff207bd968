"""What the notification service does about the inventory's events: it notifies the customer."""

from __future__ import annotations

from datetime import timedelta

from contracts import InventoryRejected, InventoryReleased, InventoryReserved
from eventcore import Metadata, RetryPolicy, Router, Transaction

from .domain.notification import Outcome, notification
from .failures import MayHaveArrived, ReceiverDown
from .notifier import PATIENCE, Notifier

# Nobody asks a receiver more often than that about one notification, once it has been failing for a while.
LONGEST_RETRY_WAIT = timedelta(minutes=5)


def notification_router(notifier: Notifier, *, attempts: int, give_up_after: timedelta | None = None) -> Router:
    """The handlers of `notification-group`."""
    router = Router(
        group="notification-group",
        retry=RetryPolicy(attempts=attempts, ceiling=LONGEST_RETRY_WAIT),
        timeout=PATIENCE + timedelta(minutes=1),  # PATIENCE is to run out first
        give_up_after=give_up_after,
    )
    retry_for: dict[type[Exception], RetryPolicy] = {
        # It was not even tried: back soon after the receiver is.
        ReceiverDown: RetryPolicy(attempts=attempts, ceiling=timedelta(seconds=30)),
        # Without a limit a customer would get thousands of copies; doubled each time, a dozen in three days.
        MayHaveArrived: RetryPolicy(attempts=attempts, base=timedelta(seconds=20), ceiling=timedelta(days=1)),
    }

    @router.on(InventoryReserved, retry_for=retry_for)
    @router.on(InventoryRejected, retry_for=retry_for)
    @router.on(InventoryReleased, retry_for=retry_for)
    async def notify(event: Outcome, metadata: Metadata) -> Transaction:
        """Notify the customer by every channel; the records commit with the acknowledgement."""
        return await notifier.notify(notification(event, metadata))

    return router
