"""The channel that sends mail."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPResponseException, SMTPServerDisconnected
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import Attributes

from .base import Notification, masked
from .errors import ChannelError, Refused
from .idle_connections import IdleConnections
from .mail import Mail, compose
from .mailbox import Mailbox
from .smtp_replies import SERVICE_CLOSING, lost_reply, no_success
from .smtp_url import SmtpUrl, StartTls

_tracer = trace.get_tracer("notification_service")


class SmtpChannel:
    """Mails customers over as many connections as mails are under way, which are kept open for the next mail.

    `url` as in `SmtpUrl.parse`; a mail takes at most its timeout. Needs no event loop until the first `send`.
    """

    name = "smtp"

    def __init__(self, url: str) -> None:
        self._url = SmtpUrl.parse(url)
        self.timeout, self.connections = self._url.timeout, self._url.connections
        self._idle = IdleConnections()
        self._attributes: Attributes = {
            "network.protocol.name": "smtp",
            "server.address": self._url.host,
            "server.port": self._url.port,
        }

    def __repr__(self) -> str:
        return f"SmtpChannel({self._url})"

    def recipient(self, notification: Notification) -> str | None:
        """The customer's mail address, where we have one."""
        return notification.email or None

    async def send(self, notification: Notification) -> None:
        """Return once the server has taken responsibility for the mail; else raise as docs/notifications.md has it."""
        mail = compose(notification, self._url.sender, _recipient(notification), datetime.now(UTC))
        with _tracer.start_as_current_span("send mail", kind=SpanKind.CLIENT, attributes=self._attributes) as span:
            try:
                await self._send(mail)
            except ChannelError as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise

    async def _send(self, mail: Mail) -> None:
        deadline = asyncio.get_running_loop().time() + self.timeout.total_seconds()
        try:
            async with asyncio.timeout_at(deadline):
                smtp = await self._with_envelope(mail)
        except (SMTPException, OSError) as error:  # TimeoutError and ssl.SSLError are OSErrors
            raise no_success(error, self._url, str(mail.recipient)) from None
        try:
            async with asyncio.timeout_at(deadline):
                await smtp.data(mail.content)
        except BaseException as error:
            smtp.close()
            if isinstance(error, SMTPException | OSError):
                raise lost_reply(error, self._url, str(mail.recipient)) from None
            raise
        await self._idle.keep(smtp)  # past the timeout: from here on nothing undoes that the mail was accepted

    async def close(self) -> None:
        """Take leave of the server. A mail still under way is finished, and its connection closed after it."""
        await self._idle.close()

    async def _with_envelope(self, mail: Mail) -> SMTP:
        """A connection that accepted sender and recipient: an idle one, or a new one where that turns out stale."""
        if smtp := self._idle.take():
            try:
                return await _open_envelope(smtp, mail)
            except (SMTPServerDisconnected, SMTPResponseException) as error:
                if isinstance(error, SMTPResponseException) and error.code != SERVICE_CLOSING:
                    raise
        return await _open_envelope(await self._connect(), mail)

    async def _connect(self) -> SMTP:
        url = self._url
        smtp = SMTP(
            hostname=url.host,
            port=url.port,
            username=url.user,
            password=url.password,
            local_hostname=_own_name(),
            timeout=None,  # `send` sets one for all of it
            use_tls=url.tls,
            start_tls={StartTls.REQUIRE: True, StartTls.AUTO: None, StartTls.NEVER: False}[url.starttls],
            # `auto` would go on in clear text: insisting on a certificate keeps self-signed servers out, not attackers.
            validate_certs=url.starttls is not StartTls.AUTO,
        )
        await smtp.connect()
        return smtp


async def _open_envelope(smtp: SMTP, mail: Mail) -> SMTP:
    """MAIL and RCPT; closes the connection on any failure."""
    encoding, options = ("utf-8", ["SMTPUTF8"]) if mail.needs_utf8 else ("ascii", [])
    try:
        if mail.needs_utf8:
            if smtp.is_ehlo_or_helo_needed:
                await smtp.ehlo()
            if not smtp.supports_extension("smtputf8"):
                raise Refused("the mail server can't write to an address beyond ASCII (no SMTPUTF8)")
        await smtp.mail(str(mail.sender), options=options, encoding=encoding)
        await smtp.rcpt(str(mail.recipient), encoding=encoding)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _recipient(notification: Notification) -> Mailbox:
    try:
        return Mailbox.parse(notification.email or "")
    except ValueError:
        raise Refused(f"{masked(notification.email or '')} is not an address that mail can be sent to") from None


def _own_name() -> str:
    """For EHLO: the full host name; without one, RFC 5321 wants an address. Not `getfqdn`, which waits for DNS."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
