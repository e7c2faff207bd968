"""What is counted of notifications."""

from __future__ import annotations

from eventcore.telemetry import Counts, Gauges, Tally

_notifications = Counts(
    "shop.notifications",
    "{notification}",
    "Customers notified, by channel and whether it was `sent` or refused (`failed`)",
    ("shop.notification.channel", "shop.notification.status"),
)
for _channel in ("log", "smtp", "webhook"):
    for _status in ("sent", "failed"):
        _notifications.add(_channel, _status, count=0)

receivers_down = Gauges(
    "shop.notification.receiver.down",
    "",
    "1 while the channel's receiver is down: its circuit breaker lets one notification at a time through; else 0",
    ("shop.notification.channel",),
)


def notified(channel: str, status: str) -> Tally:
    """One more notification has come to its end."""
    return _notifications.one(channel, status)
