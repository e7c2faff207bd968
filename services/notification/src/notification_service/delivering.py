"""Telling a customer by several channels at once, each once if it can be helped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eventcore import Store, Transaction, Unavailable, timestamp

from .channels import Channel, Notification, Refused
from .channels import Unavailable as Unreachable
from .channels.log import LogChannel
from .domain.record import Record, Status, keep, record, records
from .domain.telling import reaching

log = logging.getLogger(__name__)

# Longer than a channel's own time limit may be set (10 min): this one only makes sure that there is one at all, because
# the limit of a handler would count as the event's failure.
patience = timedelta(minutes=11)


@dataclass(frozen=True, slots=True)
class Courier:
    """Tells customers by these channels, and remembers in the store by which of them it has."""

    store: Store
    channels: Sequence[Channel]
    keep: timedelta
    last_resort: Channel = field(default_factory=LogChannel)

    async def tell(self, told: Notification) -> Transaction:
        """Tell a customer; the transaction that records it.

        A channel that has been recorded for this event is left out. When one fails, what the others have done is
        recorded before `eventcore.Unavailable` (it can't be reached just now) or the channel's own error is raised, so
        that the next attempt is for the failing one only.
        """
        chosen = await self._not_yet_used(told, reaching(told, self.channels, self.last_resort))
        outcomes = await asyncio.gather(*(_send(told, channel) for channel in chosen), return_exceptions=True)
        written = [outcome for outcome in outcomes if isinstance(outcome, Record)]
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            if written:
                await self.store.commit(keep(written, self.keep), resend=True)
            raise _worst(failures)
        return keep(written, self.keep)

    async def _not_yet_used(self, told: Notification, chosen: Sequence[Channel]) -> list[Channel]:
        key = self.store.key(records(told.order_id).key)
        names = [record(told, channel.name).name for channel in chosen]
        kept = await self.store.commands.execute("HMGET", key, *names)
        return [channel for channel, value in zip(chosen, kept, strict=True) if value is None]


async def _send(told: Notification, channel: Channel) -> Record:
    status: Status = "sent"
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await channel.send(told)
    except Refused as error:
        log.error("%s refused a notification for good: %s", channel.name, error, extra=_facts(told))
        status = "failed"
    except Unreachable as error:
        raise Unavailable(f"{channel.name}: {error}", retry_after=error.retry_after) from error
    except TimeoutError as error:
        raise Unavailable(f"{channel.name} took more than {patience}") from error
    recipient = channel.recipient(told) or "unknown"
    return Record.of(told, channel=channel.name, recipient=recipient, status=status, at=timestamp())


def _worst(failures: Sequence[BaseException]) -> BaseException:
    """A defect before what is only a matter of time; of those, the one that asks for the longest."""
    defects = [failure for failure in failures if not isinstance(failure, Unavailable)]
    if defects:
        return defects[0]
    waits = [failure for failure in failures if isinstance(failure, Unavailable)]
    return max(waits, key=lambda failure: failure.retry_after or timedelta(0))


def _facts(told: Notification) -> dict[str, str]:
    return {"orderId": told.order_id, "kind": told.kind.value, "eventId": told.id, "correlationId": told.correlation_id}
