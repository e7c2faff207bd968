"""What can go wrong when a channel notifies a customer.

    ChannelError            never raised itself; catch it to catch all
    ├── Refused             the outside said no to this notification for good: a dead letter at once
    ├── Declined            the outside said no to this notification: a few more attempts, then a dead letter
    └── ChannelUnavailable  nothing that this notification is to blame for: tried again until it is too old
        ├── Unanswered      it was sent and no answer came: it may have arrived, so it is repeated with patience
        └── NotSent         it was not sent: the receiver is down, or has enough to do

Messages are for the operator's log: they name the server, never a password, a URL's path or a whole mail address.
"""

from __future__ import annotations

from datetime import timedelta


class ChannelError(Exception):
    """A notification was not accepted by the outside."""


class Refused(ChannelError):
    """Permanent: the same notification would be refused again."""


class Declined(ChannelError):
    """An answer to this notification that may be another one next time, or once people have mended something."""


class ChannelUnavailable(ChannelError):
    """Transient, or what people mend for all notifications at once, such as wrong credentials.

    `retry_after` is how long the outside asked to be left alone, as far as we follow it; None where it did not say.
    `overloaded`: it may have had too much to do. `answered`: it is there and refused, others perhaps as well.
    `only_this_one`: it would take others meanwhile.
    """

    def __init__(
        self,
        message: str,
        retry_after: timedelta | None = None,
        *,
        overloaded: bool = False,
        answered: bool = False,
        only_this_one: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded, self.answered, self.only_this_one = overloaded, answered, only_this_one


class Unanswered(ChannelUnavailable):
    """No answer came to what was sent: the receiver may have it, or may still be working on it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, overloaded=True)


class NotSent(ChannelUnavailable):
    """Not sent, so as to spare a receiver that is down or busy, and those who would wait for it."""
