"""The state of streams and groups as it stands in Redis: lengths, lag, who holds what, dead letters. Only reads."""

from .inspector import COUNTED_LAG, COUNTED_LETTERS, VERIFIED_LAG, Inspector, WrongType
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
    "COUNTED_LAG",
    "COUNTED_LETTERS",
    "VERIFIED_LAG",
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
]
