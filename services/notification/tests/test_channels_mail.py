"""What the mails say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from html import unescape
from typing import Any

import pytest

from notification_service.channels import MissingLine, Notification, NotificationKind, OrderedLine
from notification_service.channels.mail import compose
from notification_service.channels.mailbox import Mailbox

ORDER = Notification(
    id="01994c1e-0000-7000-8000-000000000001",
    order_id="42",
    kind=NotificationKind.ORDER_CONFIRMED,
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    occurred_at=datetime(2026, 11, 23, 11, 5, tzinfo=timezone(timedelta(hours=1))),
)
ITEMS = (OrderedLine("11", 12), OrderedLine("42", 10))
SHORTAGES = (MissingLine("11", 12, 3),)


def mail(**changes: Any) -> EmailMessage:
    composed = compose(
        replace(ORDER, **changes),
        Mailbox.parse("shop@example.com"),
        Mailbox.parse("anna@example.org"),
        datetime(2026, 11, 23, 10, 6, tzinfo=UTC),
    )
    assert composed.content.isascii()
    message = message_from_bytes(composed.content, policy=SMTP)
    assert isinstance(message, EmailMessage)
    return message


def both(message: EmailMessage) -> tuple[str, str]:
    """The text, and what is to be read in the HTML, each on one line."""
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    readable = unescape(re.sub(r"<[^>]*>", " ", html.get_content().partition("<body")[2].partition(">")[2]))
    return " ".join(text.get_content().split()), " ".join(readable.split())


@pytest.mark.parametrize(
    ("changes", "subject", "text", "html"),
    [
        (
            {"items": ITEMS},
            "Your order 42 is confirmed",
            "Everything is in stock and reserved for you: 12 x product 11 10 x product 42 --",
            "Everything is in stock and reserved for you: Product Quantity 11 12 42 10 Order 42,",
        ),
        (
            {"kind": NotificationKind.ORDER_CANCELLED, "items": ITEMS},
            "Your order 42 is cancelled",
            "These products are no longer reserved for you: 12 x product 11 10 x product 42 --",
            "These products are no longer reserved for you: Product Quantity 11 12 42 10 Order 42,",
        ),
        (
            {"kind": NotificationKind.ORDER_CANCELLED},
            "Your order 42 is cancelled",
            "Your order is cancelled, and nothing will be sent to you. --",
            "Your order is cancelled, and nothing will be sent to you. Order 42,",
        ),
        (
            {"kind": NotificationKind.ORDER_REJECTED, "reason": "out_of_stock", "shortages": SHORTAGES},
            "Your order 42 could not be accepted",
            "not enough in stock for your order. Product 11: 12 ordered, 3 available Nothing was reserved",
            "not enough in stock for your order. Product Ordered Available 11 12 3 Nothing was reserved",
        ),
    ],
)
def test_each_kind_says_what_happened_to_what(changes: dict[str, Any], subject: str, text: str, html: str) -> None:
    message = mail(**changes)
    plain, rich = both(message)
    assert message["subject"] == subject
    assert plain.startswith(subject)
    assert rich.startswith(subject)
    assert text in plain
    assert html in rich


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("out_of_stock", "there is not enough in stock"),
        ("unknown_product", "your order names a product that we don't sell"),
        ("order_cancelled", "Your order was cancelled before we could reserve it"),
        ("something_newer", "we can't fulfil your order"),
        (None, "we can't fulfil your order"),
    ],
)
def test_every_reason_is_put_in_words(reason: str | None, sentence: str) -> None:
    for body in both(mail(kind=NotificationKind.ORDER_REJECTED, reason=reason)):
        assert sentence in body


def test_a_mail_says_which_order_and_when_in_utc() -> None:
    for body in both(mail()):
        assert "Order 42, 2026-11-23 10:05 UTC" in body


@pytest.mark.parametrize(
    "written",
    [
        "https://evil.example/win",
        "evil.example",
        "www.evil.example",
        "evil.example.7",
        "anna@evil.example",
        "call 0900 1234",
        '<img src="x" onerror="y">',
        "a\nb",
        "bücher",
        "x" * 65,
        "",
    ],
)
@pytest.mark.parametrize("kind", NotificationKind)
def test_a_mail_does_not_repeat_what_a_stranger_has_written_as_a_product(kind: NotificationKind, written: str) -> None:
    if kind is NotificationKind.ORDER_REJECTED:
        message = mail(
            kind=kind, reason="unknown_product", shortages=(MissingLine("11", 2, 0), MissingLine(written, 1, 0))
        )
    else:
        message = mail(kind=kind, items=(OrderedLine("11", 2), OrderedLine(written, 1)))
    for body in both(message):
        assert "11" in body
        assert "1 other product" in body
        assert "other products" not in body
        assert not written or written not in body


@pytest.mark.parametrize("plain", ["11", "SKU_42-b", "v1.5", "x" * 64])
def test_a_mail_names_plain_product_ids(plain: str) -> None:
    for body in both(mail(items=(OrderedLine(plain, 1),))):
        assert plain in body
        assert "other product" not in body


def test_a_mail_has_a_bounded_number_of_lines() -> None:
    for body in both(mail(items=tuple(OrderedLine(f"p{n}", 1) for n in range(100)))):
        assert "p19" in body
        assert "p20" not in body
        assert "80 other products" in body


def test_an_order_id_is_text_in_html_too() -> None:
    html = mail(order_id="<script>").get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()


@pytest.mark.parametrize("strange", ["bücher", "本" * 400, "x" * 3000, "a\u2028b\x00c", "half a pair: \ud83d"])
def test_any_text_can_be_mailed(strange: str) -> None:
    message = mail(order_id=strange, correlation_id=strange)
    in_a_line = " ".join(strange.replace("\x00", " ").replace("\ud83d", " ").split())
    assert message["subject"] == f"Your order {in_a_line} is confirmed"
    assert message["x-correlation-id"] == in_a_line
    for body in both(message):
        assert " ".join(strange.replace("\ud83d", "?").split()) in body


@pytest.mark.parametrize("strange", ["", "a b", "a\r\nb", "<a@b>", "ü", "a.b", "x" * 129, "\ud83d"])
def test_an_id_that_would_break_a_header_is_replaced_by_its_digest(strange: str) -> None:
    key = replace(ORDER, id=strange).key
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert key == replace(ORDER, id=strange).key
    assert key != replace(ORDER, id=strange + "x").key
    assert mail(id=strange)["message-id"] == f"<{key}@example.com>"
