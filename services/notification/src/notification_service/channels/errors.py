"""What can go wrong when a channel tells a customer something.

    ChannelError            never raised itself; catch it to catch both
    ├── Refused             the outside said no to this notification: don't retry, record it as failed
    └── Unavailable         the outside could not be asked, or asked for patience: retry

Messages are for the operator's log: they name the server, never a password, a URL's path or a whole mail address.
"""

from datetime import timedelta

__all__ = ["ChannelError", "Refused", "Unavailable"]


class ChannelError(Exception):
    """A notification was not accepted by the outside."""


class Refused(ChannelError):
    """Permanent: the same notification would be refused again."""


class Unavailable(ChannelError):
    """Transient, or nothing that this notification is to blame for, such as wrong credentials, which people mend.

    `retry_after` is how long the outside asked to be left alone, at most a day; None where it did not say.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
