"""Which channels the settings ask for."""

from __future__ import annotations

from .base import Channel
from .log import LogChannel
from .protected import ProtectedChannel
from .smtp import SmtpChannel
from .webhook import WebhookChannel


def channels_from(
    smtp_url: str | None,
    webhook_url: str | None,
    webhook_secret: str | None,
    *,
    at_once: int,
    webhook_baggage: bool = False,
) -> tuple[Channel, ...]:
    """SMTP and webhook where their URLs are set, the log where neither is; an empty value counts as not set.

    `at_once` is how many notifications are sent at the same time: so many connections a channel may have, unless it
    says otherwise. Connects to nothing and needs no event loop, so that it also serves to check settings.
    ValueError: one readable sentence that names the variable and holds no secret.
    """
    configured: list[Channel] = []
    if smtp_url:
        mail = SmtpChannel(smtp_url)
        most = min(at_once, mail.connections or at_once)
        configured.append(ProtectedChannel(mail, at_once=most, timeout=mail.timeout))
    if webhook_url:
        webhook = WebhookChannel(webhook_url, webhook_secret, baggage=webhook_baggage)
        configured.append(ProtectedChannel(webhook, at_once=at_once, timeout=webhook.timeout))
    return tuple(configured) or (LogChannel(),)
