"""Records of notifications: one for each event and channel, kept by order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Literal

from pydantic import Field as Limits

from eventcore import Hash, HashField, Transaction, Unreadable, Value, sound
from eventcore.events.odd_records import OddRecords
from notification_service.channels import Notification, NotificationKind

from .measures import notified

NotificationStatus = Literal["sent", "failed"]


class Record(Value):
    """One notification as the API shows it: `sent` if the outside has accepted it, `failed` if it refused it."""

    id: str
    order_id: str
    kind: NotificationKind
    channel: str
    recipient: str
    status: NotificationStatus
    sent_at: str = Limits(json_schema_extra={"format": "date-time"})
    event_id: str

    @classmethod
    def of(
        cls, notification: Notification, *, channel: str, recipient: str, status: NotificationStatus, at: str
    ) -> Record:
        """What to remember of a notification by one channel, at a time as the contract writes it."""
        return cls(
            id=f"{notification.id}:{channel}",
            order_id=notification.order_id,
            kind=notification.kind,
            channel=channel,
            recipient=recipient,
            status=status,
            sent_at=at,
            event_id=notification.id,
        )


def records_of(order_id: str) -> Hash:
    """Where the records of an order are kept, by their ids."""
    return Hash(f"notifications:{order_id}")


def record(notification: Notification, channel: str) -> HashField:
    """Where it is recorded what became of a notification by this channel."""
    return records_of(notification.order_id)[f"{notification.id}:{channel}"]


def odd_records() -> OddRecords:
    """Remembers which records could not be read, by order."""
    return OddRecords("a notification of order")


def status_of(order_id: str, value: str | Unreadable | None, odd: OddRecords) -> str | None:
    """The status in a record as it is kept; a record that this program can't read is somebody else's `sent`."""
    if value is None:
        return None
    found = readable(order_id, [value], odd)
    return found[0].status if found else "sent"


def readable(order_id: str, kept: Iterable[str | Unreadable], odd: OddRecords) -> list[Record]:
    """The records of an order that this program can read; of others, of a newer version perhaps, the log tells."""
    found = (odd.read(order_id, partial(_record, value)) for value in kept)
    return [record for record in found if record is not None]


def _record(value: str | Unreadable) -> Record:
    return Record.model_validate_json(sound(value))


def record_all(written: Iterable[Record], ttl: timedelta) -> Transaction:
    """Keep these records, and the others of their orders, for so long from now."""
    written = list(written)
    places = dict.fromkeys(records_of(each.order_id) for each in written)
    return Transaction(
        then=[
            *(records_of(each.order_id)[each.id].set(each.model_dump_json(by_alias=True)) for each in written),
            *(place.expire(ttl) for place in places),
        ],
        counts=[notified(each.channel, each.status) for each in written],
    )
