"""From channels that failed to the one error for the consumer: what is tried again, when, and what is final."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from eventcore import Reject, Unavailable

from . import channels
from .channels import Declined

# The least wait before what may have arrived is sent again; the retry policy makes it longer each time.
REPEAT_AFTER = timedelta(seconds=5)


class ReceiverDown(Unavailable):
    """A channel was not tried: its receiver is down, or has enough to do."""


class MayHaveArrived(Unavailable):
    """A channel has sent the notification and got no answer: the customer may have it already."""


def error_for(failures: Mapping[str, BaseException], *, least: timedelta = timedelta(0)) -> BaseException:
    """The error to raise for what failed, by channel; its message names all of them.

    First what is only a matter of time, which costs no attempt: another error may end the event, and with it the
    other channel's chance. Of those, the one that asks for the longest. Then defects and answers that cost an attempt,
    and last what is final for every channel that is left. `least` is the shortest wait for a channel not tried.
    """
    summary = "; ".join(f"{name}: {_words(error)}" for name, error in failures.items())
    errors = failures.values()
    if waits := [each for each in errors if isinstance(each, channels.ChannelUnavailable)]:
        return _later(max(waits, key=_asked), summary, least)
    if defects := [each for each in errors if not isinstance(each, channels.ChannelError)]:
        return defects[0]
    if any(isinstance(each, Declined) for each in errors):
        return Declined(summary)
    return Reject(f"refused for good: {summary}")


def _later(error: channels.ChannelUnavailable, summary: str, least: timedelta) -> Unavailable:
    match error:
        case channels.NotSent(retry_after=wait):
            return ReceiverDown(summary, retry_after=max(wait or least, least))
        case channels.Unanswered():
            return MayHaveArrived(summary, retry_after=REPEAT_AFTER)
        case _:
            return Unavailable(summary, retry_after=error.retry_after)


def _asked(error: channels.ChannelUnavailable) -> timedelta:
    return error.retry_after or timedelta(0)


def _words(error: BaseException) -> str:
    """A channel's own errors are fit to be shown; of a defect only what it is."""
    return str(error) if isinstance(error, channels.ChannelError) else type(error).__name__
