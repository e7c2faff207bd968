"""The channel where no other is configured: a line in the log."""

from __future__ import annotations

import logging

from .base import Notification, masked, on_one_line

log = logging.getLogger("notification")


class LogChannel:
    """Logs one INFO line per notification, with mail addresses masked. Reaches everybody."""

    name = "log"

    def recipient(self, notification: Notification) -> str:
        """The customer as far as known: mail address, customer id or `log`."""
        return notification.email or notification.customer_id or "log"

    async def send(self, notification: Notification) -> None:
        """Never fails."""
        recipient = masked(notification.email) if notification.email else on_one_line(notification.customer_id or "log")
        said = {"kind": notification.kind.value, "orderId": on_one_line(notification.order_id), "recipient": recipient}
        extra = {"eventId": notification.id, "correlationId": notification.correlation_id}
        log.info("%(kind)s: customer of order %(orderId)s notified: %(recipient)s", said, extra=extra)

    async def close(self) -> None:
        """Nothing to close."""
