"""The state of streams and groups as it stands in Redis: lengths, lag, who holds what, dead letters. Only reads."""

from .inspector import Inspector, WrongType, counted_lag, counted_letters, verified_lag
from .server import ServerState
from .state import (
    AsideEntry,
    AsideState,
    ConsumerState,
    DeadLetterState,
    GroupState,
    Lag,
    PendingEntry,
    Progress,
    StreamState,
)

__all__ = [
    "AsideEntry",
    "AsideState",
    "ConsumerState",
    "DeadLetterState",
    "GroupState",
    "Inspector",
    "Lag",
    "PendingEntry",
    "Progress",
    "ServerState",
    "StreamState",
    "WrongType",
    "counted_lag",
    "counted_letters",
    "verified_lag",
]
