"""Records of what customers were told: one for each event and channel, kept by order."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

from pydantic import Field as Limits
from pydantic import ValidationError

from eventcore import Field, Hash, Transaction, Value
from notification_service.channels import Kind, Notification

from .measures import told

log = logging.getLogger(__name__)

Status = Literal["sent", "failed"]


class Record(Value):
    """One notification as the API shows it: `sent` if the outside has accepted it, `failed` if it refused it."""

    id: str
    order_id: str
    kind: Kind
    channel: str
    recipient: str
    status: Status
    sent_at: str = Limits(json_schema_extra={"format": "date-time"})
    event_id: str

    @classmethod
    def of(cls, told: Notification, *, channel: str, recipient: str, status: Status, at: str) -> Record:
        """What to remember of telling a customer by one channel, at a time as the contract writes it."""
        return cls(
            id=f"{told.id}:{channel}",
            order_id=told.order_id,
            kind=told.kind,
            channel=channel,
            recipient=recipient,
            status=status,
            sent_at=at,
            event_id=told.id,
        )


def records(order_id: str) -> Hash:
    """Where the records of an order are kept, by their ids."""
    return Hash(f"notifications:{order_id}")


def record(told: Notification, channel: str) -> Field:
    """Where it is recorded that the customer was told by this channel."""
    return records(told.order_id)[f"{told.id}:{channel}"]


def status_of(value: bytes | None) -> str | None:
    """The status in a record as it is kept; a record that this program can't read is somebody else's `sent`."""
    if value is None:
        return None
    found = readable([value])
    return found[0].status if found else "sent"


def readable(kept: Iterable[bytes]) -> list[Record]:
    """The records among these that this program can read; the others, of a newer version perhaps, are logged."""
    found: list[Record] = []
    for value in kept:
        try:
            found.append(Record.model_validate_json(value))
        except ValidationError as error:
            log.warning("a notification's record can't be read and is left out: %s", error.errors()[0]["msg"])
    return found


def keep(written: Iterable[Record], ttl: timedelta) -> Transaction:
    """Keep these records, and the others of their orders, for so long from now."""
    written = list(written)
    places = dict.fromkeys(records(each.order_id) for each in written)
    return Transaction(
        then=[
            *(records(each.order_id)[each.id].set(each.model_dump_json(by_alias=True)) for each in written),
            *(place.expire(ttl) for place in places),
        ],
        counts=[told(each.channel, each.status) for each in written],
    )
