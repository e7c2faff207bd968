"""Telling a customer by several channels at once, each once if it can be helped."""

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
from .domain.record import NotificationStatus, Record, odd_records, record, record_all, status_of
from .failures import verdict

# Longer than a channel's own time limit may be set (10 min) and the queue before it: this one only makes sure that
# there is one at all, because the limit of a handler would count as the event's failure.
PATIENCE = timedelta(minutes=11)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells customers by these channels, and remembers in the store by which of them it has."""

    store: Store
    channels: Sequence[Channel]
    keep: timedelta
    last_resort: Channel = field(default_factory=LogChannel)
    _odd: OddRecords = field(default_factory=odd_records)

    async def tell(self, told: Notification) -> Transaction:
        """Tell a customer; the transaction that records it.

        A channel that is recorded as `sent` for this event is left out. When one fails, what has become of the others
        is recorded before the error is raised, so that the next attempt is for the failing one only.
        """
        chosen = reaching(told, self.channels, self.last_resort)
        before = await self._statuses(told, chosen)
        left = [channel for channel in chosen if before[channel.name] != "sent"]
        errors = await asyncio.gather(*(_send(told, channel) for channel in left), return_exceptions=True)
        outcomes = list(zip(left, errors, strict=True))
        written = [
            _recorded(told, channel, status)
            for channel, error in outcomes
            if (status := _status(error)) is not None and status != before[channel.name]
        ]
        failures = {channel.name: error for channel, error in outcomes if error is not None}
        if not failures:
            return record_all(written, self.keep)
        if written:
            await self.store.commit(record_all(written, self.keep), resend=True)
        raise verdict(failures, least=self._aside if len(failures) < len(chosen) else timedelta(0))

    @property
    def _aside(self) -> timedelta:
        """A wait so long that a delivery is put aside: nobody's first word waits for who is told a second time."""
        return timedelta(seconds=1.25 * self.store.settings.aside_after_seconds)

    async def _statuses(self, told: Notification, chosen: Sequence[Channel]) -> Mapping[str, str | None]:
        """What is recorded of this event by each channel."""
        kept = await self.store.read_each([record(told, channel.name) for channel in chosen])
        return {
            channel.name: status_of(told.order_id, value, self._odd)
            for channel, value in zip(chosen, kept, strict=True)
        }


async def _send(told: Notification, channel: Channel) -> None:
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await channel.send(told)
    except TimeoutError as error:
        raise ChannelUnavailable(f"took more than {PATIENCE}") from error


def _status(error: BaseException | None) -> NotificationStatus | None:
    """What to record; nothing of what is only a matter of time, or a defect of our own."""
    if error is None:
        return "sent"
    return "failed" if isinstance(error, Refused | Declined) else None


def _recorded(told: Notification, channel: Channel, status: NotificationStatus) -> Record:
    recipient = channel.recipient(told) or "unknown"
    return Record.of(told, channel=channel.name, recipient=recipient, status=status, at=timestamp())
