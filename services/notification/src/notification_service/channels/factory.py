"""Which channels the settings ask for."""

from .base import Channel
from .log import LogChannel
from .smtp import SmtpChannel
from .webhook import WebhookChannel

__all__ = ["LogChannel", "SmtpChannel", "WebhookChannel", "channels_from"]


def channels_from(smtp_url: str | None, webhook_url: str | None, webhook_secret: str | None) -> tuple[Channel, ...]:
    """SMTP and webhook where their URLs are set, the log where neither is; an empty value counts as not set.

    Connects to nothing and needs no event loop, so that it also serves to check settings.
    ValueError: one readable sentence that names the variable and holds no secret.
    """
    configured: list[Channel] = []
    if smtp_url:
        configured.append(SmtpChannel(smtp_url))
    if webhook_url:
        configured.append(WebhookChannel(webhook_url, webhook_secret))
    return tuple(configured) or (LogChannel(),)
