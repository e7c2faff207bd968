"""A mail server that does as it is told: aiosmtpd, and hooks by which it misbehaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any, cast

from aiosmtpd import smtp
from aiosmtpd.smtp import Envelope, Session

from notification_service.channels import Notification, NotificationKind, OrderedLine
from notification_service.channels.smtp import SmtpChannel

CONFIRMED = Notification(
    id="01994c1e-0000-7000-8000-000000000001",
    order_id="42",
    kind=NotificationKind.ORDER_CONFIRMED,
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    occurred_at=datetime(2026, 11, 23, 10, tzinfo=UTC),
    email="anna@example.com",
    items=(OrderedLine("11", 12),),
)
Hook = Callable[[smtp.SMTP], Awaitable[str]]


class Receiver:
    """A mail server on a port of its own: keeps what arrives, and answers MAIL, RCPT and DATA as its hooks say."""

    def __init__(self, **hooks: Hook) -> None:
        self.hooks = hooks
        self.port = 0
        self.connections: list[Connection] = []
        self.mails: list[Envelope] = []

    async def handle_MAIL(
        self, server: smtp.SMTP, _: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return await self.answer("MAIL", server)

    async def handle_RCPT(self, server: smtp.SMTP, _: Session, envelope: Envelope, address: str, __: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return await self.answer("RCPT", server)

    async def handle_DATA(self, server: smtp.SMTP, _: Session, envelope: Envelope) -> str:
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

    async def smtp_QUIT(self, arg: str | None) -> None:
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
