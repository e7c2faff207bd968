"""Notification channels: how customers are told.

This package's own names are pure; the channels themselves, and the libraries they need, come with `channels.factory`.
"""

from .base import Channel, Kind, Line, Notification, Shortage
from .errors import ChannelError, Declined, Refused, TurnedAway, Unanswered, Unavailable

__all__ = [
    "Channel",
    "ChannelError",
    "Declined",
    "Kind",
    "Line",
    "Notification",
    "Refused",
    "Shortage",
    "TurnedAway",
    "Unanswered",
    "Unavailable",
]
