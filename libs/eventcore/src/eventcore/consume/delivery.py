"""A delivery and the verdict on a failed one: decided from values alone, without Redis."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from eventcore.errors import Reject, Retry, Unavailable, Undecodable, UnsupportedVersion
from eventcore.events.envelope import Metadata, Origin
from eventcore.events.event import Event
from eventcore.telemetry import RecordedSpan, traceparent_of

from .retry_policy import RetryPolicy

DeliveryKey = tuple[str, str]

# The fields that an entry has beside those of the event when it comes back from being put aside.
ENTRY_ID, FIRST_SEEN, ATTEMPTS, FAILURES = b"entryId", b"firstSeen", b"attempts", b"failures"
LANE, LAST_ERROR = b"lane", b"lastError"
PAST_FIELDS = frozenset({ENTRY_ID, FIRST_SEEN, ATTEMPTS, FAILURES, LANE, LAST_ERROR})
# In seconds, more than anybody waits: what an entry says may be anything.
LONGEST_TRIED = 10 * 365 * 86_400.0
# From this attempt on, a delivery that was taken over is suspected of killing its process: it runs alone, so that its
# neighbours are not counted as killers with it.
SUSPECT_FROM = 3
# Who asks for more is asked again after so long: an entry that waits for ever is as good as lost.
LONGEST_RETRY_AFTER = timedelta(days=1)


class LetterReason(StrEnum):
    """Why a delivery was dead-lettered."""

    UNDECODABLE = "undecodable"
    UNSUPPORTED_VERSION = "unsupported_version"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    CRASH_LOOP = "crash_loop"
    UNAVAILABLE = "unavailable"


class CrashLoop(Exception):
    """Earlier attempts of the delivery began and never ended: its handler probably kills the process."""


class LetterRefused(Unavailable):
    """The delivery's dead letter can't be written just now: it stays pending until it can."""


UNKNOWN = "unknown"
"""The type of an event that could not be read."""


class Past(Struct, frozen=True, gc=False):
    """The history of a delivery that was put aside, read from its entry when it is back.

    `entry_id` is where it first stood, `first_seen` when the group was first given it (milliseconds, the server's).
    """

    entry_id: str
    first_seen: int
    attempts: int = 0
    failures: int = 0

    @classmethod
    def read(cls, entry_id: str, fields: Mapping[bytes, bytes]) -> Past | None:
        """From an entry of a retry stream; `None` if it was not put aside before."""
        if ENTRY_ID not in fields:
            return None
        first_seen, attempts, failures = (_number(fields.get(name)) for name in (FIRST_SEEN, ATTEMPTS, FAILURES))
        origin = fields[ENTRY_ID].decode("utf-8", "replace")
        return cls(origin, first_seen or _number(entry_id.partition("-")[0].encode()), attempts, failures)


def _number(text: bytes | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 20 else 0


class Delivery(Struct, eq=False, gc=False):
    """An entry handed to this consumer, and what has become of it so far.

    `attempt` counts from 1. `recovered` means that it was taken over, so its earlier attempts may have ended in a
    crash. `size` is that of its entry, in bytes. Its turn came, or its `async` handler began, at `began_at`. `type`,
    `metadata` and `event` are what could be read of it. `refused` says why its commit has to wait. `failing_since` is
    when an attempt first failed here, by the monotonic clock (0: none has), `error` what the latest failed with.
    `past` is there when it had been put aside. `maybe_aside`: it was sent there, and no answer came.

    Nothing that it holds refers to it, so it is in no reference cycle and needs no garbage collection.
    """

    stream: str
    entry_id: str
    attempt: int
    fields: Mapping[bytes, bytes]
    received_at: float
    recovered: bool = False
    size: int = 0
    began_at: float = 0.0
    failures: int = 0
    failing_since: float = 0.0
    error: str = ""
    past: Past | None = None
    maybe_aside: bool = False
    type: str = UNKNOWN
    metadata: Metadata | None = None
    event: Event | None = None
    lane: str | None = None
    refused: str | None = None
    span: RecordedSpan | None = None

    @property
    def key(self) -> DeliveryKey:
        """Stream and entry id, unique among the group's deliveries."""
        return self.stream, self.entry_id

    @property
    def origin_id(self) -> str:
        """The id of its first entry: of the main stream, if it was put aside since."""
        return self.entry_id if self.past is None else self.past.entry_id

    @property
    def attempts_here(self) -> int:
        """Attempts begun since it was last put aside: all of them, if it never was."""
        return self.attempt if self.past is None else self.attempt - self.past.attempts

    def tried_for(self, now: float) -> float:
        """Seconds since the group was first given it, as far as is known; `now` is by the monotonic clock."""
        here = now - (self.failing_since or self.received_at)
        if self.past is None:
            return here
        back_at = int(self.entry_id.partition("-")[0])
        return here + min(max(0, back_at - self.past.first_seen) / 1000, LONGEST_TRIED)

    @property
    def ids(self) -> Mapping[str, str]:
        """Its ids in logs: event, correlation and trace."""
        if self.metadata is None:
            return {"entryId": self.entry_id}
        origin = Origin.caused_by(self.metadata, "")
        traceparent = origin.traceparent if self.span is None else traceparent_of(self.span)
        _, trace_id, span_id, _ = traceparent.split("-")
        return {
            "eventId": self.metadata.event_id,
            "correlationId": origin.correlation_id,
            "traceId": trace_id,
            "spanId": span_id,
        }

    @property
    def published_at(self) -> datetime | None:
        """When the server appended the entry, as far as its id says."""
        return entry_time(self.origin_id)


class TryAgain(Struct, frozen=True, gc=False):
    """Leave the delivery pending and try it again after a while; `counts` says whether an attempt was spent."""

    after: timedelta
    counts: bool = True


class DeadLetter(Struct, frozen=True, gc=False):
    """Give up: append a letter to the dead-letter stream and acknowledge, in one script."""

    reason: LetterReason


Verdict = TryAgain | DeadLetter


def judge(  # noqa: PLR0911 - one return for each kind of failure
    error: BaseException,
    *,
    attempt: int,
    failures: int,
    policy: RetryPolicy,
    waited: timedelta,
    rollout: timedelta,
    give_up_after: timedelta | None = None,
) -> Verdict:
    """What to do with a delivery whose attempt number `attempt` failed with `error`.

    `failures` counts those of this consumer, also the ones that cost no attempt, so that waits grow with each.
    `waited` is how long the event has been tried so far; `rollout` is how long one of an unknown version may wait for a
    newer program, `give_up_after` how long for what is unavailable.
    """
    match error:
        case Undecodable():
            return DeadLetter(LetterReason.UNDECODABLE)
        case Reject():
            return DeadLetter(LetterReason.REJECTED)
        case CrashLoop():
            return DeadLetter(LetterReason.CRASH_LOOP)
        case UnsupportedVersion():
            if waited >= rollout:
                return DeadLetter(LetterReason.UNSUPPORTED_VERSION)
            return TryAgain(min(rollout - waited, max(timedelta(seconds=1), policy.ceiling / 2)), counts=False)
        case Unavailable(retry_after=least):
            if _is_too_long(waited, give_up_after) and not isinstance(error, LetterRefused):
                return DeadLetter(LetterReason.UNAVAILABLE)
            return TryAgain(_bounded(max(least or timedelta(0), policy.backoff(failures))), counts=False)
    delay = policy.delay(attempt)
    if delay is None:
        return DeadLetter(LetterReason.ATTEMPTS_EXHAUSTED)
    return TryAgain(_bounded(max(delay, error.after or delay) if isinstance(error, Retry) else delay))


def _is_too_long(waited: timedelta, limit: timedelta | None) -> bool:
    return limit is not None and waited >= limit


def _bounded(wait: timedelta) -> timedelta:
    return min(wait, LONGEST_RETRY_AFTER)


def entry_time(entry_id: str) -> datetime | None:
    """When an entry with this id was appended; `None` if the id is no time that has a date: it may be any number."""
    try:
        return datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def milliseconds_at(time: datetime) -> int:
    """What the id of an entry appended at that time begins with."""
    return max(0, (time - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1))
