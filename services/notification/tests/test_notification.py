"""What customers are told, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from eventcore import Metadata
from libs.contracts.tests.memory import Memory
from notification_service.channels import MissingLine, Notification, NotificationKind, OrderedLine
from notification_service.domain.notification import Outcome, notification, reaching
from notification_service.domain.record import Record, record, record_all, records_of
from services.notification.tests.outcomes import METADATA, NEVER_TRIED, REJECTED, RELEASED, RESERVED, TRACE, Fake

KEEP = timedelta(days=30)


def test_a_customer_is_told_what_was_reserved() -> None:
    assert notification(RESERVED, METADATA) == Notification(
        id="event-1",
        order_id="1",
        kind=NotificationKind.ORDER_CONFIRMED,
        correlation_id=TRACE,
        occurred_at=METADATA.timestamp,
        customer_id="VINET",
        email="vinet@example.com",
        items=(OrderedLine("tea", 2),),
    )


def test_a_customer_is_told_why_an_order_was_rejected() -> None:
    told = notification(REJECTED, METADATA)
    assert (told.kind, told.reason, told.shortages) == (
        NotificationKind.ORDER_REJECTED,
        "out_of_stock",
        (MissingLine("tea", 2, 1),),
    )


@pytest.mark.parametrize("event", [RELEASED, NEVER_TRIED], ids=["released", "never tried"])
def test_a_customer_is_told_that_an_order_is_cancelled(event: Outcome) -> None:
    assert notification(event, METADATA).kind == NotificationKind.ORDER_CANCELLED


def test_an_event_without_a_trace_tells_the_same_story_every_time() -> None:
    bare = Metadata(event_id="event-1", timestamp=datetime(2026, 11, 23, 10))  # noqa: DTZ001 - as others may write it
    told = notification(RESERVED, bare)
    assert told == notification(RESERVED, bare)
    assert len(told.correlation_id) == 32
    assert told.occurred_at == datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_only_channels_that_reach_the_customer_are_used() -> None:
    mail, web, log = Fake("smtp", reaches=lambda told: told.email), Fake("webhook"), Fake("log")
    with_mail, without = notification(RESERVED, METADATA), notification(REJECTED, METADATA)
    assert reaching(with_mail, [mail, web], log) == [mail, web]
    assert reaching(without, [mail, web], log) == [web]
    assert reaching(without, [mail], log) == [log]


def test_a_record_is_found_by_event_and_channel_and_vanishes_some_day() -> None:
    told = notification(RESERVED, METADATA)
    written = [
        Record.of(told, channel=channel, recipient="VINET", status="sent", at="2026-11-23T10:00:01.000Z")
        for channel in ("smtp", "webhook")
    ]
    memory = Memory()
    memory.commit(record_all(written, KEEP))
    assert [Record.model_validate_json(memory.look(record(told, each.channel)) or "") for each in written] == written
    assert memory.ttls == {records_of("1").key: KEEP}
    assert written[0].model_dump(by_alias=True, mode="json") == {
        "id": "event-1:smtp",
        "orderId": "1",
        "kind": "order_confirmed",
        "channel": "smtp",
        "recipient": "VINET",
        "status": "sent",
        "sentAt": "2026-11-23T10:00:01.000Z",
        "eventId": "event-1",
    }
