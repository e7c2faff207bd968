"""What the inventory service can be told, beside what every service can."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from eventcore import Settings


class InventorySettings(Settings):
    """Settings of the inventory service."""

    port: int = Field(8002, ge=1, le=65535)
    state_keep_days: int = Field(30, ge=1, le=3650)
    """How long a reservation stays after its last change. Stock stays for good."""

    @property
    def keep(self) -> timedelta:
        """`state_keep_days` as a time."""
        return timedelta(days=self.state_keep_days)
