"""The SMTP channel against real servers: aiosmtpd, and bare sockets where a server has to misbehave."""

from __future__ import annotations

import asyncio
import base64
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import aiosmtplib
import pytest
from aiosmtpd import smtp
from aiosmtpd.smtp import AuthResult, Envelope, Session

from notification_service.channels import ChannelError, Kind, Line, Notification, Refused, Unavailable
from notification_service.channels.idle import IdleConnections
from notification_service.channels.smtp import MAX_CONNECTIONS, SmtpChannel

CONFIRMED = Notification(
    id="01994c1e-0000-7000-8000-000000000001",
    order_id="42",
    kind=Kind.ORDER_CONFIRMED,
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    occurred_at=datetime(2026, 11, 23, 10, tzinfo=UTC),
    email="anna@example.com",
    items=(Line("11", 12),),
)

Hook = Callable[[smtp.SMTP], Awaitable[str]]


class Receiver:
    """A mail server on a port of its own: keeps what arrives, and answers MAIL, RCPT and DATA as its hooks say."""

    def __init__(self, **hooks: Hook) -> None:
        self.hooks = hooks
        self.port = 0
        self.connections: list[Connection] = []
        self.mails: list[Envelope] = []

    # aiosmtpd finds its hooks by these names.
    async def handle_MAIL(  # noqa: N802
        self, server: smtp.SMTP, _: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return await self.answer("MAIL", server)

    async def handle_RCPT(  # noqa: N802
        self, server: smtp.SMTP, _: Session, envelope: Envelope, address: str, __: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return await self.answer("RCPT", server)

    async def handle_DATA(self, server: smtp.SMTP, _: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(envelope)
        return await self.answer("DATA", server)

    async def answer(self, command: str, server: smtp.SMTP) -> str:
        return await self.hooks[command](server) if command in self.hooks else "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        return [parsed(envelope) for envelope in self.mails]


class Connection(smtp.SMTP):
    """One connection of a receiver."""

    over: asyncio.Event
    said_goodbye = False

    async def smtp_QUIT(self, arg: str | None) -> None:  # noqa: N802  # aiosmtpd's name
        self.said_goodbye = True
        if "QUIT" in self.event_handler.hooks:
            await self.event_handler.hooks["QUIT"](self)
        await super().smtp_QUIT(arg)

    def abort(self) -> None:
        if self.transport is not None:
            cast("asyncio.WriteTransport", self.transport).abort()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.over.set()


@asynccontextmanager
async def running(receiver: Receiver, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Receiver]:
    loop = asyncio.get_running_loop()

    def accept() -> Connection:
        connection = Connection(receiver, loop=loop, hostname="localhost", **options)
        connection.over = asyncio.Event()
        receiver.connections.append(connection)
        return connection

    server = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for connection in receiver.connections:
            connection.abort()


@asynccontextmanager
async def sending(to: Receiver, options: str = "") -> AsyncIterator[SmtpChannel]:
    channel = SmtpChannel(f"smtp://127.0.0.1:{to.port}?from=shop@example.com{options}")
    try:
        yield channel
    finally:
        await channel.close()


def parsed(envelope: Envelope) -> EmailMessage:
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=SMTPUTF8)
    assert isinstance(message, EmailMessage)
    return message


def saying(answer: str) -> Hook:
    async def hook(_: smtp.SMTP) -> str:
        return answer

    return hook


async def silence(_: smtp.SMTP) -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def hang_up(server: smtp.SMTP) -> str:
    assert isinstance(server, Connection)
    server.abort()
    return "250 too late"


def third_of_three(hook: Hook) -> Hook:
    """A hook that lets the first two calls pass."""
    calls = 0

    async def counted(server: smtp.SMTP) -> str:
        nonlocal calls
        calls += 1
        return await hook(server) if calls == 3 else "250 OK"

    return counted


# What arrives


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


# What servers answer


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("RCPT", "550 5.1.1 no such user", Refused),
        ("DATA", "554 5.7.1 looks like spam", Refused),
        ("RCPT", "450 4.2.1 try later", Unavailable),
        ("DATA", "451 4.3.0 try later", Unavailable),
        ("MAIL", "553 5.7.1 you may not send as shop@example.com", Unavailable),
    ],
)
async def test_an_answer_is_permanent_only_where_it_is_about_this_mail(
    command: str, answer: str, error: type[ChannelError]
) -> None:
    async with running(Receiver(**{command: saying(answer)})) as receiver, sending(receiver) as channel:
        with pytest.raises(error, match=answer) as raised:
            await channel.send(CONFIRMED)
        assert type(raised.value) is error
        receiver.hooks.clear()
        await channel.send(CONFIRMED)  # one customer's trouble is no other's


async def test_the_answer_is_told_without_the_customers_address() -> None:
    answer = saying("550 <Anna@xn--strae-oqa.example> is\tunknown")
    async with running(Receiver(RCPT=answer)) as receiver, sending(receiver) as channel:
        with pytest.raises(Refused, match=r"550 <a\*\*\*@xn--strae-oqa\.example> is unknown"):
            await channel.send(replace(CONFIRMED, email="anna@straße.example"))


async def test_nobody_listening_is_transient() -> None:
    async with running(Receiver()) as receiver:
        pass
    async with sending(receiver) as channel:
        with pytest.raises(Unavailable, match=f"smtp://127.0.0.1:{receiver.port}") as raised:
            await channel.send(CONFIRMED)
    assert raised.value.retry_after is None


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_a_server_that_stops_answering_is_transient(command: str) -> None:
    async with running(Receiver(**{command: silence})) as receiver, sending(receiver, "&timeout=0.2") as channel:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
            await channel.send(CONFIRMED)
        await asyncio.gather(*(connection.over.wait() for connection in receiver.connections))


async def test_a_server_that_accepts_and_never_greets_is_transient() -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        channel = SmtpChannel(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}?timeout=0.2")
        with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
            await channel.send(CONFIRMED)
        for writer in writers:
            writer.close()


# Connections


async def test_mails_one_after_the_other_share_a_connection_that_ends_with_quit() -> None:
    async with running(Receiver()) as receiver:
        async with sending(receiver) as channel:
            for _ in range(3):
                await channel.send(CONFIRMED)
        [connection] = receiver.connections
        assert connection.said_goodbye
    assert len(receiver.mails) == 3


async def test_many_mails_at_once_share_a_few_connections_and_arrive_once_each() -> None:
    ids = [f"id-{i}" for i in range(40)]
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await asyncio.gather(*(channel.send(replace(CONFIRMED, id=id)) for id in ids))
    assert len(receiver.connections) == MAX_CONNECTIONS
    assert sorted(message["message-id"] for message in receiver.messages) == sorted(f"<{id}@example.com>" for id in ids)


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(noticed: bool) -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await channel.send(CONFIRMED)
        [connection] = receiver.connections
        await hang_up(connection)
        if noticed:
            await connection.over.wait()
        await channel.send(CONFIRMED)
    assert len(receiver.mails) == len(receiver.connections) == 2


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("end", [hang_up, saying("421 4.7.0 enough mails for one connection")], ids=["gone", "421"])
async def test_a_connection_that_ends_before_the_message_is_replaced(command: str, end: Hook) -> None:
    async with running(Receiver(**{command: third_of_three(end)})) as receiver, sending(receiver) as channel:
        for _ in range(3):
            await channel.send(CONFIRMED)
    assert len(receiver.connections) == 2
    assert len(receiver.mails) == 3


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("end", [hang_up, saying("421 4.3.2 closing")], ids=["gone", "421"])
async def test_a_new_connection_that_ends_is_not_replaced(command: str, end: Hook) -> None:
    async with running(Receiver(**{command: end})) as receiver, sending(receiver) as channel:
        with pytest.raises(Unavailable):
            await channel.send(CONFIRMED)
    assert len(receiver.connections) == 1


async def test_a_mail_is_not_repeated_when_only_the_answer_was_lost() -> None:
    async with running(Receiver(DATA=third_of_three(hang_up))) as receiver, sending(receiver) as channel:
        await channel.send(CONFIRMED)
        await channel.send(CONFIRMED)
        with pytest.raises(Unavailable):
            await channel.send(CONFIRMED)
    assert len(receiver.mails) == 3


async def test_a_cancelled_mail_gives_its_connection_and_its_turn_back() -> None:
    started = asyncio.Queue[None]()

    async def start(server: smtp.SMTP) -> str:
        started.put_nowait(None)
        return await silence(server)

    async with running(Receiver(DATA=start)) as receiver, sending(receiver) as channel:
        tasks = [asyncio.create_task(channel.send(CONFIRMED)) for _ in range(MAX_CONNECTIONS)]
        for _ in tasks:
            await started.get()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(connection.over.wait() for connection in receiver.connections))
        assert all(task.cancelled() for task in tasks)

        receiver.hooks.clear()
        await channel.send(CONFIRMED)
        assert len(receiver.connections) == MAX_CONNECTIONS + 1


async def test_closing_lets_a_mail_under_way_finish_and_keeps_nothing_open() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: smtp.SMTP) -> str:
        started.set()
        await go_on.wait()
        return "250 OK"

    async with running(Receiver(DATA=wait)) as receiver, sending(receiver) as channel:
        task = asyncio.create_task(channel.send(CONFIRMED))
        await started.wait()
        await channel.close()
        go_on.set()
        await task
        [connection] = receiver.connections
        await connection.over.wait()
        assert connection.said_goodbye


async def test_an_accepted_mail_stays_accepted_when_the_server_ignores_the_goodbye() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: smtp.SMTP) -> str:
        started.set()
        await go_on.wait()
        return "250 OK"

    async with running(Receiver(DATA=wait, QUIT=silence)) as receiver, sending(receiver, "&timeout=0.5") as channel:
        task = asyncio.create_task(channel.send(CONFIRMED))
        await started.wait()
        await channel.close()
        go_on.set()
        await task
        [connection] = receiver.connections
        await connection.over.wait()


async def test_a_connection_idle_for_too_long_is_not_trusted() -> None:
    async with running(Receiver()) as receiver:
        for max_idle, trusted in [(timedelta(0), False), (timedelta(minutes=1), True)]:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=receiver.port)
            await client.connect()
            idle = IdleConnections(max_idle)
            await idle.keep(client)
            assert (idle.take() is client) is trusted
            assert client.is_connected is trusted
            client.close()


# Encryption and credentials

# Made for these tests: self-signed for localhost, valid until 2120.
CERTIFICATE = (
    "MIIBkTCCATigAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAx"
    "MDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIurJ7bAMgs9HYRwhg1kZ/il"
    "oiVel6ET0eOsNssFi2PCXVo/zaHc9i3/0iN+6pTLvFo7qYvcrSpMIjTdxb+wbIijeTB3MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0P"
    "AQH/BAQDAgKEMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAdBgNVHQ4EFgQUVbYay2I46dTHYVwye1QUKt0tUEAwHwYDVR0jBBgwFoAU"
    "VbYay2I46dTHYVwye1QUKt0tUEAwCgYIKoZIzj0EAwIDRwAwRAIgWNKRYylmEc5KSgF6rgCAN7b3+zkyC7s51XaQOMV4tloCIASC"
    "SCEazWKAlPlR6QHb/QM/X4Qr/ndCLgPBu+jEDQ7x"
)
KEY = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgu6mFjOhRcsZ6PF9nkHLvZrIUmZ7F84bP9CgWU1CAu52hRANCAASL"
    "qye2wDILPR2EcIYNZGf4paIlXpehE9HjrDbLBYtjwl1aP82h3PYt/9IjfuqUy7xaO6mL3K0qTCI03cW/sGyI"
)
PASSWORD = "s3cret/pass"
WRONG = "hunter2"


class Credentials:
    """An authenticator that takes one user, remembers who tried, and is careless about what it says."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []

    def __call__(self, _: smtp.SMTP, __: Session, ___: Envelope, ____: str, said: Any) -> AuthResult:
        self.seen.append((said.login, said.password))
        success = self.seen[-1] == (b"shop@example.com", PASSWORD.encode())
        answer = None if success else f"535 5.7.8 not {said.password!r}"
        return AuthResult(success=success, handled=False, message=answer)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "localhost.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(base64.b64decode(CERTIFICATE)))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    label = "PRIVATE KEY"
    key = certificate.with_suffix(".key")
    key.write_text(f"-----BEGIN {label}-----\n{KEY}\n-----END {label}-----\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def url_with(password: str, receiver: Receiver) -> str:
    return f"smtp://shop%40example.com:{quote(password, safe='')}@localhost:{receiver.port}"


async def send_one(url: str) -> None:
    channel = SmtpChannel(url)
    try:
        await channel.send(CONFIRMED)
    finally:
        await channel.close()


@pytest.mark.usefixtures("trusted")
async def test_with_credentials_the_connection_is_encrypted_first(tls: ssl.SSLContext) -> None:
    credentials = Credentials()
    receiver = Receiver()
    async with running(receiver, tls_context=tls, require_starttls=True, auth_required=True, authenticator=credentials):
        await send_one(url_with(PASSWORD, receiver))
    assert credentials.seen == [(b"shop@example.com", PASSWORD.encode())]
    assert receiver.mails[0].mail_from == "shop@example.com"


@pytest.mark.usefixtures("trusted")
async def test_implicit_tls(tls: ssl.SSLContext) -> None:
    async with running(Receiver(), tls) as receiver:
        await send_one(f"smtps://localhost:{receiver.port}")
    assert len(receiver.mails) == 1


@pytest.mark.usefixtures("trusted")
async def test_wrong_credentials_are_transient_and_nobody_is_told_them(tls: ssl.SSLContext) -> None:
    receiver = Receiver()
    async with running(receiver, tls_context=tls, auth_required=True, authenticator=Credentials()):
        with pytest.raises(Unavailable, match=r"refused the credentials \(535\)") as raised:
            await send_one(url_with(WRONG, receiver))
    assert WRONG not in "".join(traceback.format_exception(raised.value))


async def test_credentials_do_not_travel_in_clear_text() -> None:
    credentials = Credentials()
    async with running(Receiver(), auth_require_tls=False, authenticator=credentials) as receiver:
        with pytest.raises(Unavailable, match="STARTTLS"):
            await send_one(url_with(PASSWORD, receiver))
        assert not credentials.seen
        await send_one(url_with(PASSWORD, receiver) + "?starttls=never")
        assert credentials.seen


@pytest.mark.parametrize("url", ["smtp://localhost:{}?starttls=require", "smtps://localhost:{}"])
async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(url: str, tls: ssl.SSLContext) -> None:
    implicit = url.startswith("smtps")
    async with running(Receiver(), tls if implicit else None, tls_context=None if implicit else tls) as receiver:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await send_one(url.format(receiver.port))
    assert not receiver.mails


async def test_without_credentials_encryption_is_taken_where_offered(tls: ssl.SSLContext) -> None:
    async with running(Receiver(), tls_context=tls, require_starttls=True) as receiver:
        await send_one(f"smtp://localhost:{receiver.port}")
    assert len(receiver.mails) == 1


def test_a_channel_shows_no_credentials() -> None:
    channel = SmtpChannel("smtp://shop%40example.com:s3cret%2Fpass@mail.example.com")
    assert repr(channel) == "SmtpChannel(smtp://mail.example.com:587)"
