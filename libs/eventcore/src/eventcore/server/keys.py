"""The names of the keys that stand beside a stream; the prefix comes before them later."""

from __future__ import annotations

# Nothing can follow this entry id, and Redis refuses to look for it.
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


def retry_stream(stream: str, group: str) -> str:
    """Where a redriven event goes: only the group that failed it reads there."""
    return f"{stream}:{group}:retry"


def beats_key(stream: str, group: str) -> str:
    """The sorted set of a group's consumers by their last heartbeat (milliseconds of the server's clock)."""
    return f"{stream}:{group}:beats"


def aside_key(stream: str, group: str) -> str:
    """The sorted set of what a group has put aside, by its due time (milliseconds of the server's clock)."""
    return f"{stream}:{group}:aside"


def aside_entries_key(stream: str, group: str) -> str:
    """The hash of the entries that a group has put aside, by the names in the sorted set."""
    return f"{stream}:{group}:aside:entries"


def members_key(stream: str, group: str) -> str:
    """The hash of a group's consumers by name: the instance that has the name, and the event types that it handles."""
    return f"{stream}:{group}:members"


def dead_letter_stream(stream: str) -> str:
    """`orders_stream` → `orders_dlq`."""
    return f"{stream.removesuffix('_stream')}_dlq"
