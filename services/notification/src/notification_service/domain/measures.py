"""What is counted of notifications."""

from __future__ import annotations

from eventcore.telemetry import Counts, Tally

_notifications = Counts(
    "shop.notifications",
    "{notification}",
    "Customers told, by channel and whether it was `sent` or `failed` for good",
    ("shop.notification.channel", "shop.notification.status"),
)
for _channel in ("log", "smtp", "webhook"):
    for _status in ("sent", "failed"):
        _notifications.add(_channel, _status, count=0)


def told(channel: str, status: str) -> Tally:
    """One more notification has come to its end."""
    return _notifications.one(channel, status)
