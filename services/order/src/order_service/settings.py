"""What the order service can be told, beside what every service can."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from eventcore import Settings
from eventcore.commit.durability import Durability


class OrderSettings(Settings):
    """Settings of the order service."""

    port: int = Field(default=8001, ge=1, le=65535)
    state_keep_days: int = Field(default=30, ge=1, le=3650)
    """How long an order stays after its last change."""
    idempotency_keep_hours: int = Field(default=24, ge=1, le=8760)
    """How long an `Idempotency-Key` is remembered."""
    order_durability: Durability = Durability.MEMORY
    """What has to have happened to an order before it is accepted."""
    order_durability_replicas: int = Field(default=1, ge=1, le=100)
    """How many replicas must have it, where the durability is `replica`."""
    order_durability_check: Literal["refuse", "warn"] = "refuse"
    """What to do on a server that says `disk` before it has synced: refuse to start, or only warn."""

    auth_bind_customer: bool = False
    """Whether a token is good for the orders of its subject alone: their `customerId`."""

    @model_validator(mode="after")
    def _customers_have_tokens(self) -> Self:
        if self.auth_bind_customer and not self.auth_jwks:
            raise ValueError("AUTH_BIND_CUSTOMER needs AUTH_JWKS")
        return self

    @property
    def keep(self) -> timedelta:
        """`state_keep_days` as a time."""
        return timedelta(days=self.state_keep_days)

    @property
    def remember(self) -> timedelta:
        """`idempotency_keep_hours` as a time."""
        return timedelta(hours=self.idempotency_keep_hours)
