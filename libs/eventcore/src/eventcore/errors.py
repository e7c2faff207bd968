"""Every error of eventcore, as one small tree.

    EventcoreError
    ├── SettingsError         a setting is wrong: the program stops at start with this one line
    ├── Undecodable           an entry can't be read: dead-lettered at once, the reason names the field
    ├── UnsupportedVersion    an event of a newer major version: tried again for as long as a rollout may take
    ├── Reject                raised by a handler: this event can never be handled, dead-letter it now
    ├── Retry                 raised by a handler: try again, optionally after a given time; counts as an attempt
    ├── GuardFailed           a guard failed and the transaction has no `otherwise`: nothing was written
    ├── Conflict              a write met a value of another type: nothing was written
    │   └── Unreadable        what is there is not what was asked for: text, an integer, a hash
    └── Unavailable           something outside is out of reach: try later; costs no attempt; HTTP answers 503
        ├── OutcomeUnknown    the connection died with the command on its way: it ran whole, or not at all
        │   └── DurabilityUnknown    it ran, but did not become as durable as was asked, or not in time
        ├── NotDurable        the server does not keep the durability that is asked for now: nothing was written
        ├── StreamFull        a stream is at its hard cap, or out of entry ids: nothing was written
        └── Forbidden         the server refuses a command to our user: nothing was written

Wrong declarations (two handlers for one event, a missing upcaster) raise `TypeError` while the module is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

ENDS_PROCESS = (SystemExit, KeyboardInterrupt)
"""What a handler may raise that is no failed attempt."""


class EventcoreError(Exception):
    """The root: catching it catches everything that eventcore raises on purpose."""


class SettingsError(EventcoreError):
    """A setting is missing or wrong; the message is one readable line that names the variable."""


class Undecodable(EventcoreError):
    """An entry that is not an event as the contract has it. Raised by the envelope; the message names the field."""


class UnsupportedVersion(EventcoreError):
    """An event of a newer major version than this program knows. Raised by the envelope."""


class Reject(EventcoreError):
    """Raised by a handler for an event that can never be handled: it is dead-lettered without another attempt."""


class Retry(EventcoreError):
    """Raised by a handler to be called again later.

    `after` is the least time until then; without it the retry policy decides. The attempt counts.
    """

    def __init__(self, message: str = "", *, after: timedelta | None = None) -> None:
        super().__init__(message)
        self.after = after


class GuardFailed(EventcoreError):
    """A guard failed and the transaction has no `otherwise`; nothing was written.

    `found` holds what each guarded place contained (`None` where there was nothing).
    """

    def __init__(self, message: str, found: Mapping[Any, str | None]) -> None:
        super().__init__(message)
        self.found = found


class Conflict(EventcoreError):
    """A key or field holds something of another type than the transaction writes. Nothing was written."""


class Unreadable(Conflict):
    """What is there is not what was asked for. The message names key and field, never the value."""


class Unavailable(EventcoreError):
    """Something outside is out of reach or refuses work for now (Redis, a mail server, another API).

    Raised by eventcore about Redis, and by handlers about what they depend on. It costs no attempt; `retry_after` is
    the least time to wait, where known.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(Unavailable):
    """The connection died while a command was on its way. It ran as a whole or not at all; nobody can tell which."""


class DurabilityUnknown(OutcomeUnknown):
    """It was committed, but is not known to be as durable as was asked: a crash may still lose it."""


class NotDurable(Unavailable):
    """The server does not keep the durability that is asked for, at the moment; nothing was written."""


class StreamFull(Unavailable):
    """A stream is at its hard cap, or out of entry ids, and refuses new events; nothing was written."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None, key: str | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.key = key


class Forbidden(Unavailable):
    """The server refuses a command to our user, or on this key, until somebody grants it; nothing was written.

    `command` and `key` say which, where that is known.
    """

    def __init__(self, message: str, *, command: str | None = None, key: str | None = None) -> None:
        super().__init__(message, retry_after=timedelta(seconds=1))
        self.command, self.key = command, key

    @classmethod
    def to_run(cls, command: str, key: str) -> Forbidden:
        """One command on one key."""
        return cls(f"the Redis user has no permission to run {command} on {key}", command=command, key=key)
