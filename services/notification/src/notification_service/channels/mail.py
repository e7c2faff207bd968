"""A notification as a mail: text and HTML, rendered from the templates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from .base import Notification, on_one_line
from .mailable import mailable
from .mailbox import Mailbox

_templates = Environment(
    loader=PackageLoader("notification_service", "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Mail:
    """What goes over the wire: the envelope, and the message as bytes."""

    sender: Mailbox
    recipient: Mailbox
    content: bytes

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return self.sender.needs_utf8 or self.recipient.needs_utf8


def compose(notification: Notification, sender: Mailbox, recipient: Mailbox, now: datetime) -> Mail:
    """Every attempt has the same Message-ID, subject and text; the date is that of the attempt.

    The bytes are 7-bit clean, so that any server can take them, unless an address needs SMTPUTF8.
    """
    subject, text, html = _render(notification)
    message = EmailMessage(policy=SMTPUTF8 if sender.needs_utf8 or recipient.needs_utf8 else SMTP)
    message["From"] = Address(username=sender.local, domain=sender.domain)
    message["To"] = Address(username=recipient.local, domain=recipient.domain)
    message["Subject"] = subject
    message["Date"] = now.astimezone(UTC)
    message["Message-ID"] = f"<{notification.key}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: spares us the out-of-office answers
    message["X-Correlation-ID"] = on_one_line(notification.correlation_id)
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return Mail(sender, recipient, message.as_bytes())


def _render(notification: Notification) -> tuple[str, str, str]:
    """Subject, text and HTML; the text template's `subject` block is the subject of all three."""
    template = _templates.get_template(f"{notification.kind}.txt")
    lines, others = mailable(notification.items or notification.shortages)
    values = {"n": notification, "at": notification.occurred_at.astimezone(UTC), "lines": lines, "others": others}
    subject = on_one_line("".join(template.blocks["subject"](template.new_context(values))))
    text = template.render(values, subject=subject)
    html = _templates.get_template(f"{notification.kind}.html").render(values, subject=subject)
    return _sendable(subject), _sendable(text), _sendable(html)


def _sendable(text: str) -> str:
    """JSON can name half a surrogate pair, UTF-8 can't: show the question mark instead of refusing the mail."""
    return text.encode("utf-8", "replace").decode("utf-8")
