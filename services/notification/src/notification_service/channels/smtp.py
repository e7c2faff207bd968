"""The channel that sends mail."""

import asyncio
import re
import socket
from datetime import UTC, datetime

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import Attributes

from .address import Mailbox
from .base import Notification, masked, one_line
from .errors import ChannelError, Refused, Unavailable
from .idle import IdleConnections
from .mail import Mail, compose
from .smtp_url import SmtpUrl, StartTls

__all__ = ["SmtpChannel"]

_tracer = trace.get_tracer("notification_service")
MAX_CONNECTIONS = 4
SERVICE_CLOSING = 421


class SmtpChannel:
    """Mails customers over at most `MAX_CONNECTIONS` connections, which are kept open for the next mail.

    `url` as in `SmtpUrl.parse`. A mail takes at most the URL's timeout once it is its turn, and so do those before it.
    Needs no event loop until the first `send`.
    """

    name = "smtp"

    def __init__(self, url: str) -> None:
        self._url = SmtpUrl.parse(url)
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle = IdleConnections()
        self._attributes: Attributes = {
            "network.protocol.name": "smtp",
            "server.address": self._url.host,
            "server.port": self._url.port,
        }

    def __repr__(self) -> str:
        return f"SmtpChannel({self._url})"

    def recipient(self, n: Notification) -> str | None:
        """The customer's mail address, where we have one."""
        return n.email or None

    async def send(self, n: Notification) -> None:
        """Return once the server has taken responsibility for the mail.

        `Refused`: no usable address, or 5xx to this recipient or content. Everything else is `Unavailable`: 4xx,
        timeouts, lost connections, but also what operators mend: credentials, certificates, a sender that may not send.
        """
        mail = compose(n, self._url.sender, _recipient(n), datetime.now(UTC))
        with _tracer.start_as_current_span("send mail", kind=SpanKind.CLIENT, attributes=self._attributes) as span:
            try:
                await self._send(mail)
            except ChannelError as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise

    async def _send(self, mail: Mail) -> None:
        async with self._turns:
            try:
                async with asyncio.timeout(self._url.timeout.total_seconds()):
                    smtp = await self._deliver(mail)
            except (SMTPException, OSError) as error:  # TimeoutError and ssl.SSLError are OSErrors
                raise _translated(error, self._url, str(mail.recipient)) from None
            await self._idle.keep(smtp)  # past the timeout: from here on nothing undoes that the mail was accepted

    async def close(self) -> None:
        """Take leave of the server. A mail still under way is finished, and its connection closed after it."""
        await self._idle.close()

    async def _deliver(self, mail: Mail) -> SMTP:
        smtp = await self._with_envelope(mail)
        try:
            await smtp.data(mail.content)  # from here on a silent server may have the mail: never repeated here
        except BaseException:
            smtp.close()
            raise
        return smtp

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


def _recipient(n: Notification) -> Mailbox:
    try:
        return Mailbox.parse(n.email or "")
    except ValueError:
        raise Refused(f"{masked(n.email or '')} is not an address that mail can be sent to") from None


def _own_name() -> str:
    """For EHLO: the full host name; without one, RFC 5321 wants an address. Not `getfqdn`, which waits for DNS."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _translated(error: Exception, url: SmtpUrl, recipient: str) -> ChannelError:
    match error:
        case SMTPAuthenticationError(code=code):  # some servers repeat what they were sent: not a word of the answer
            return Unavailable(f"{url} refused the credentials ({code})")
        case SMTPResponseException(code=code, message=answer):
            final = code >= 500 and isinstance(error, SMTPRecipientRefused | SMTPDataError)
            said = re.sub(re.escape(recipient), masked(recipient), one_line(answer), flags=re.IGNORECASE)[:200]
            return (Refused if final else Unavailable)(f"{url} answered {code} {said}")
        case TimeoutError():
            return Unavailable(f"{url} did not answer within {url.timeout.total_seconds():g} s")
        case _:
            return Unavailable(f"{url}: {one_line(str(error))[:200] or type(error).__name__}")
