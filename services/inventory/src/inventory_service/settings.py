"""What the inventory service can be told, beside what every service can."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from eventcore import Settings

# How late confirmation and cancellation may come together, where nothing becomes a dead letter.
LATEST_NEWS = timedelta(days=7)


class InventorySettings(Settings):
    """Settings of the inventory service."""

    port: int = Field(default=8002, ge=1, le=65535)
    state_keep_days: int = Field(default=30, ge=1, le=3650)
    """How long orders stay in the order service, whose setting must not be more. Stock stays for good."""

    @property
    def keep(self) -> timedelta:
        """How long a reservation stays after its last change: for as long as its order may still be cancelled.

        Without it the order's stock would never be given back. The order stays from its confirmation, which comes
        later, and the cancellation comes later still: as a redriven dead letter, at the latest.
        """
        return timedelta(days=self.state_keep_days) + max(LATEST_NEWS, timedelta(seconds=self.dlq_keep_seconds))
