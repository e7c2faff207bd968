"""The SMTP channel against a real server: what arrives, and what becomes of what the server answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from notification_service.channels import ChannelError, ChannelUnavailable, Declined, Refused, Unanswered
from notification_service.channels.smtp import SmtpChannel
from services.notification.tests.mail_server import CONFIRMED, Receiver, running, saying, sending, silence


async def test_a_mail_says_in_text_and_html_what_happened_and_where_it_comes_from() -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await channel.send(CONFIRMED)

    [envelope] = receiver.mails
    [message] = receiver.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == ("shop@example.com", ["anna@example.com"])
    assert (message["from"], message["to"]) == ("shop@example.com", "anna@example.com")
    assert message["subject"] == "Your order 42 is confirmed"
    assert message["message-id"] == "<01994c1e-0000-7000-8000-000000000001@example.com>"
    assert message["auto-submitted"] == "auto-generated"
    assert message["x-correlation-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert abs(message["date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


async def test_a_second_attempt_has_the_same_message_id() -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await channel.send(CONFIRMED)
        await channel.send(CONFIRMED)
    first, second = receiver.messages
    assert first["message-id"] == second["message-id"]


async def test_a_domain_beyond_ascii_is_reached_through_any_server() -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await channel.send(replace(CONFIRMED, email="anna@straße.example"))
    assert receiver.mails[0].rcpt_tos == ["anna@xn--strae-oqa.example"]


async def test_an_address_beyond_ascii_is_reached_where_the_server_can_write_to_it() -> None:
    async with running(Receiver(), enable_SMTPUTF8=True) as receiver, sending(receiver) as channel:
        await channel.send(replace(CONFIRMED, email="bjørn@example.com"))
    assert receiver.mails[0].rcpt_tos == ["bjørn@example.com"]
    assert "SMTPUTF8" in receiver.mails[0].mail_options
    assert isinstance(receiver.mails[0].content, bytes)
    assert "\r\nTo: bjørn@example.com\r\n".encode() in receiver.mails[0].content


async def test_an_address_beyond_ascii_is_refused_where_the_server_cannot_write_to_it() -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        with pytest.raises(Refused, match="SMTPUTF8"):
            await channel.send(replace(CONFIRMED, email="bjørn@example.com"))


async def test_an_order_id_cannot_add_a_header() -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await channel.send(
            replace(CONFIRMED, id="1\r\nBcc: x@y.z", order_id="2\r\nBcc: x@y.z", correlation_id="3\nBcc: x@y.z")
        )
    [message] = receiver.messages
    assert "bcc" not in message
    assert message["subject"] == "Your order 2 Bcc: x@y.z is confirmed"
    assert receiver.mails[0].rcpt_tos == ["anna@example.com"]


@pytest.mark.parametrize(
    "address",
    ["", "anna", "@b.c", "a@", "a@b.c\r\nRCPT TO:<x@y.z>", "a@b.c> SIZE=1", "a@b.c, x@y.z", "a b@c.d", "<a@b.c>"],
)
async def test_what_is_no_address_is_refused_before_any_server_sees_it(address: str) -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        with pytest.raises(Refused):
            await channel.send(replace(CONFIRMED, email=address))
    assert not receiver.connections


def test_a_customer_without_an_address_has_no_recipient() -> None:
    channel = SmtpChannel("smtp://localhost")
    assert channel.recipient(replace(CONFIRMED, email=None)) is None
    assert channel.recipient(CONFIRMED) == "anna@example.com"


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("RCPT", "550 5.1.1 no such user", Refused),
        ("RCPT", "550 5.1.2 no such domain", Refused),
        ("RCPT", "556 5.1.10 this domain takes no mail", Refused),
        ("RCPT", "550 no such user", Declined),
        ("RCPT", "550 5.2.1 mailbox disabled", Declined),
        ("DATA", "554 5.7.1 looks like spam", Declined),
        ("DATA", "550 5.6.0 no such content", Declined),
        ("RCPT", "450 4.2.1 try later", ChannelUnavailable),
        ("DATA", "451 4.3.0 try later", ChannelUnavailable),
        ("RCPT", "554 5.7.1 relay access denied", ChannelUnavailable),
        ("RCPT", "550 5.7.1 relaying denied", ChannelUnavailable),
        ("RCPT", "554 transaction failed", ChannelUnavailable),
        ("RCPT", "550 Relay not permitted", ChannelUnavailable),
        ("RCPT", "530 5.7.0 authentication required", ChannelUnavailable),
        ("RCPT", "535 authentication failed", ChannelUnavailable),
        ("DATA", "530 5.7.0 authentication required", ChannelUnavailable),
        ("RCPT", "550 5.1.8 sender address rejected", ChannelUnavailable),
        ("RCPT", "550 5.4.1 access denied", ChannelUnavailable),
        ("RCPT", "552 quota exceeded", ChannelUnavailable),
        ("RCPT", "552 5.2.2 mailbox full", ChannelUnavailable),
        ("DATA", "552 5.3.1 system full", ChannelUnavailable),
        ("MAIL", "553 5.7.1 you may not send as shop@example.com", ChannelUnavailable),
        ("MAIL", "552 5.2.2 over quota", ChannelUnavailable),
    ],
)
async def test_an_answer_is_held_against_a_mail_only_where_it_is_about_this_mail(
    command: str, answer: str, error: type[ChannelError]
) -> None:
    async with running(Receiver(**{command: saying(answer)})) as receiver, sending(receiver) as channel:
        with pytest.raises(error, match=answer) as raised:
            await channel.send(CONFIRMED)
        assert type(raised.value) is error
        receiver.hooks.clear()
        await channel.send(CONFIRMED)  # one customer's trouble is no other's


@pytest.mark.parametrize(
    ("command", "answer", "only_this_one", "overloaded"),
    [
        ("RCPT", "450 4.7.1 greylisted", True, False),
        ("RCPT", "554 5.7.1 relay access denied", False, False),
        ("RCPT", "421 4.7.0 too many connections", False, True),
        ("MAIL", "451 4.3.0 try later", False, False),
    ],
)
async def test_an_answer_about_one_recipient_says_nothing_about_the_server(
    command: str, answer: str, only_this_one: bool, overloaded: bool
) -> None:
    async with running(Receiver(**{command: saying(answer)})) as receiver, sending(receiver) as channel:
        with pytest.raises(ChannelUnavailable) as raised:
            await channel.send(CONFIRMED)
    assert (raised.value.only_this_one, raised.value.overloaded) == (only_this_one, overloaded)


async def test_the_answer_is_told_without_the_customers_address() -> None:
    answer = saying("550 5.1.1 <Anna@xn--strae-oqa.example> is\tunknown")
    async with running(Receiver(RCPT=answer)) as receiver, sending(receiver) as channel:
        with pytest.raises(Refused, match=r"550 5\.1\.1 <a\*\*\*@xn--strae-oqa\.example> is unknown"):
            await channel.send(replace(CONFIRMED, email="anna@straße.example"))


async def test_nobody_listening_is_transient() -> None:
    async with running(Receiver()) as receiver:
        pass
    async with sending(receiver) as channel:
        with pytest.raises(ChannelUnavailable, match=f"smtp://127.0.0.1:{receiver.port}") as raised:
            await channel.send(CONFIRMED)
    assert raised.value.retry_after is None


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        ("MAIL", ChannelUnavailable, r"did not answer within 0\.2 s"),
        ("RCPT", ChannelUnavailable, r"did not answer within 0\.2 s"),
        ("DATA", Unanswered, "it may have arrived"),
    ],
)
async def test_a_server_that_stops_answering_is_transient(command: str, error: type[ChannelError], said: str) -> None:
    async with running(Receiver(**{command: silence})) as receiver, sending(receiver, "&timeout=0.2") as channel:
        with pytest.raises(ChannelUnavailable, match=said) as raised:
            await channel.send(CONFIRMED)
        assert type(raised.value) is error
        await asyncio.gather(*(connection.over.wait() for connection in receiver.connections))


async def test_a_server_that_accepts_and_never_greets_is_transient() -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        channel = SmtpChannel(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}?timeout=0.2")
        with pytest.raises(ChannelUnavailable, match=r"did not answer within 0\.2 s"):
            await channel.send(CONFIRMED)
        for writer in writers:
            writer.close()
