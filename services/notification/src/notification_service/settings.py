"""Settings of the notification service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator

from eventcore import Settings

from .channels import Channel
from .channels.factory import channels_from
from .channels.webhook_secret import caution


class NotificationSettings(Settings):
    """Settings of the notification service. Without a mail server or a webhook customers are told in the log."""

    port: int = Field(default=8003, ge=1, le=65535)
    smtp_url: SecretStr | None = None
    """`smtp[s]://[user:password@]host[:port][?from=shop@example.com&timeout=10&connections=3&starttls=…]`."""
    webhook_url: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    """Signs webhooks: `whsec_` and base64."""
    webhook_baggage: bool = False
    """Whether webhooks carry the `baggage` and `tracestate` of the requests that led to them; else only the ids."""
    state_keep_days: int = Field(default=30, ge=1, le=3650)
    """How long the records of an order's notifications stay after the last of them."""
    give_up_seconds: float = Field(default=3 * 86_400, gt=0, le=365 * 86_400)
    """How long a notification is tried while its receiver is out of reach or takes none, before it is dead-lettered."""

    @model_validator(mode="after")
    def _channels_can_be_made(self) -> Self:
        self.channels()
        return self

    def channels(self) -> Sequence[Channel]:
        """The channels that the settings ask for, new ones with each call. Nothing is connected yet."""
        return channels_from(
            _reveal(self.smtp_url),
            _reveal(self.webhook_url),
            _reveal(self.webhook_secret),
            at_once=self.consumer_concurrency,
            webhook_baggage=self.webhook_baggage,
        )

    @property
    def caution(self) -> str | None:
        """What the operator should know of a value that is taken all the same."""
        return caution(_reveal(self.webhook_secret)) if self.webhook_url else None

    @property
    def keep(self) -> timedelta:
        """`state_keep_days` as a time."""
        return timedelta(days=self.state_keep_days)

    @property
    def give_up_after(self) -> timedelta:
        """`give_up_seconds` as a time."""
        return timedelta(seconds=self.give_up_seconds)


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
