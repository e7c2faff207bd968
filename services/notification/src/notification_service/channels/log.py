"""The channel for want of a better one: a line in the log."""

import logging

from .base import Notification, masked, on_one_line

__all__ = ["LogChannel"]

log = logging.getLogger("notification")


class LogChannel:
    """Logs one INFO line per notification, with mail addresses masked. Reaches everybody."""

    name = "log"

    def recipient(self, n: Notification) -> str:
        """The customer as far as known: mail address, customer id or `log`."""
        return n.email or n.customer_id or "log"

    async def send(self, n: Notification) -> None:
        """Never fails."""
        recipient = masked(n.email) if n.email else on_one_line(n.customer_id or "log")
        told = {"kind": n.kind.value, "orderId": on_one_line(n.order_id), "recipient": recipient}
        extra = {"eventId": n.id, "correlationId": n.correlation_id}
        log.info("%(kind)s: customer of order %(orderId)s notified: %(recipient)s", told, extra=extra)

    async def close(self) -> None:
        """Nothing to close."""
