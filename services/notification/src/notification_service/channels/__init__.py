"""Notification channels: how customers are notified.

This package's own names are pure; the channels themselves, and the libraries they need, come with `channels.factory`.
"""

from .base import Channel, MissingLine, Notification, NotificationKind, OrderedLine
from .errors import ChannelError, ChannelUnavailable, Declined, NotSent, Refused, Unanswered

__all__ = [
    "Channel",
    "ChannelError",
    "ChannelUnavailable",
    "Declined",
    "MissingLine",
    "NotSent",
    "Notification",
    "NotificationKind",
    "OrderedLine",
    "Refused",
    "Unanswered",
]
