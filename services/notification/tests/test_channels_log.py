"""The log channel, and which channels the settings ask for."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from eventcore.telemetry.logs import fields
from notification_service.channels import Notification, NotificationKind
from notification_service.channels.base import masked
from notification_service.channels.factory import channels_from
from notification_service.channels.log import LogChannel

ORDER = Notification(
    id="event-1",
    order_id="42",
    kind=NotificationKind.ORDER_CONFIRMED,
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    occurred_at=datetime(2026, 11, 23, 10, tzinfo=UTC),
    customer_id="VINET",
    email="anna@example.com",
)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def logged(n: Notification, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    with caplog.at_level(logging.INFO, "notification"):
        await LogChannel().send(n)
    [record] = caplog.records
    return record


async def test_a_notification_is_one_line_that_can_be_searched(caplog: pytest.LogCaptureFixture) -> None:
    record = await logged(ORDER, caplog)
    assert (record.name, record.levelname) == ("notification", "INFO")
    assert record.getMessage() == "order_confirmed: customer of order 42 notified: a***@example.com"
    said = {"orderId": "42", "kind": "order_confirmed", "eventId": "event-1", "recipient": "a***@example.com"}
    assert fields(record) == {**said, "correlationId": ORDER.correlation_id}


async def test_a_whole_mail_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    record = await logged(ORDER, caplog)
    assert "anna" not in str(vars(record))


async def test_nothing_in_a_notification_starts_another_line(caplog: pytest.LogCaptureFixture) -> None:
    record = await logged(replace(ORDER, order_id="1\nINFO x", email=None, customer_id="2\r\u2028INFO y"), caplog)
    assert record.getMessage() == "order_confirmed: customer of order 1 INFO x notified: 2 INFO y"


@pytest.mark.parametrize(
    ("email", "customer_id", "recipient"),
    [("a@b.c", "VINET", "a@b.c"), (None, "VINET", "VINET"), (None, None, "log")],
)
def test_the_log_reaches_everybody(email: str | None, customer_id: str | None, recipient: str) -> None:
    assert LogChannel().recipient(replace(ORDER, email=email, customer_id=customer_id)) == recipient


@pytest.mark.parametrize(
    ("email", "shown"),
    [("a@b.c", "a***@b.c"), ("anna@b.c", "a***@b.c"), ("@b.c", "***@b.c"), ("anna", "***"), ("", "***")],
)
def test_a_masked_address_keeps_its_first_letter_and_its_domain(email: str, shown: str) -> None:
    assert masked(email) == shown


def test_a_notification_shows_no_address_in_its_repr() -> None:
    assert "anna" not in repr(ORDER)


def names(smtp_url: str | None, webhook_url: str | None, secret: str | None) -> list[str]:
    return [channel.name for channel in channels_from(smtp_url, webhook_url, secret, at_once=64)]


def test_without_settings_notifications_go_to_the_log() -> None:
    assert names(None, None, None) == ["log"]
    assert names("", "", "") == ["log"]


def test_every_url_that_is_set_is_a_channel() -> None:
    smtp, webhook = "smtp://localhost", "https://example.com/hook"
    assert names(smtp, None, None) == ["smtp"]
    assert names(None, webhook, SECRET) == ["webhook"]
    assert [channel.name for channel in channels_from(smtp, webhook, SECRET, at_once=64)] == ["smtp", "webhook"]


async def test_channels_that_sent_nothing_can_be_closed_twice() -> None:
    for channel in [LogChannel(), *channels_from("smtp://localhost", "https://example.com/hook", SECRET, at_once=64)]:
        await channel.close()
        await channel.close()
