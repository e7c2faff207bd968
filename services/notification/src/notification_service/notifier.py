"""Notifying a customer by several channels at once, by each of them once if it can be helped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eventcore import Store, Transaction, timestamp
from eventcore.events.odd_records import OddRecords

from .channels import Channel, ChannelUnavailable, Declined, Notification, Refused
from .channels.log import LogChannel
from .domain.notification import reaching
from .domain.record import NotificationStatus, Record, odd_records, record, record_all, records_of, status_of
from .failures import error_for

# Longer than a channel's own time limit may be set (10 min) and the queue before it: this one only makes sure that
# there is one at all, because the limit of a handler would count as the event's failure.
PATIENCE = timedelta(minutes=11)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Notifies customers by these channels, and remembers in the store by which of them it has."""

    store: Store
    channels: Sequence[Channel]
    keep: timedelta
    last_resort: Channel = field(default_factory=LogChannel)
    _odd: OddRecords = field(default_factory=odd_records)

    async def notify(self, notification: Notification) -> Transaction:
        """Notify a customer; the transaction that records it.

        A channel that is recorded as `sent` for this event is left out. When one fails, what has become of the others
        is recorded before the error is raised, so that the next attempt is for the failing one only.
        """
        chosen = reaching(notification, self.channels, self.last_resort)
        before = await self._statuses(notification, chosen)
        left = [channel for channel in chosen if before[channel.name] != "sent"]
        errors = await asyncio.gather(*(_send(notification, channel) for channel in left), return_exceptions=True)
        outcomes = list(zip(left, errors, strict=True))
        records = [
            _record_of(notification, channel, status)
            for channel, error in outcomes
            if (status := _status(error)) is not None and status != before[channel.name]
        ]
        failures = {channel.name: error for channel, error in outcomes if error is not None}
        if not failures:
            return record_all(records, self.keep)
        if records:
            await self.store.commit(record_all(records, self.keep), resend=True)
        raise error_for(failures, least=self._aside if len(failures) < len(chosen) else timedelta(0))

    @property
    def _aside(self) -> timedelta:
        """A wait that puts a delivery aside: customers reached by one channel make room for those reached by none."""
        return timedelta(seconds=1.25 * self.store.settings.aside_after_seconds)

    async def _statuses(self, notification: Notification, chosen: Sequence[Channel]) -> Mapping[str, str | None]:
        """What is recorded of this event by each channel."""
        kept = await self.store.read(records_of(notification.order_id).each)
        names = {channel.name: record(notification, channel.name).name for channel in chosen}
        return {channel: status_of(notification.order_id, kept.get(name), self._odd) for channel, name in names.items()}


async def _send(notification: Notification, channel: Channel) -> None:
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await channel.send(notification)
    except TimeoutError as error:
        raise ChannelUnavailable(f"took more than {PATIENCE}") from error


def _status(error: BaseException | None) -> NotificationStatus | None:
    """What to record; nothing of what only needs time, or a defect of our own."""
    if error is None:
        return "sent"
    return "failed" if isinstance(error, Refused | Declined) else None


def _record_of(notification: Notification, channel: Channel, status: NotificationStatus) -> Record:
    recipient = channel.recipient(notification) or "unknown"
    return Record.of(notification, channel=channel.name, recipient=recipient, status=status, at=timestamp())
