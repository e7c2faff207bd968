"""What there is to know of a stream, as values. Times come from the server's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Lag:
    """What a group has not been given yet; `age` is the first such entry's. If `capped`, there are at least so many."""

    entries: int = 0
    age: timedelta = timedelta(0)
    capped: bool = False


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry held by a consumer: `age` since it was appended, `idle` since it was last handed out."""

    entry_id: str
    consumer: str
    age: timedelta
    idle: timedelta
    attempts: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group has come on one stream."""

    stream: str
    length: int
    last_delivered_id: str
    lag: Lag
    pending: int
    oldest_pending: PendingEntry | None


@dataclass(frozen=True, slots=True)
class AsideEntry:
    """A delivery that was put aside until `due_at` (milliseconds of the server's clock), and why."""

    entry_id: str
    due_at: int
    attempts: int
    lane: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class AsideState:
    """What a group has put aside of a stream: how many, how old the oldest entry is, and the one that is due first."""

    count: int = 0
    oldest_age: timedelta | None = None
    next: AsideEntry | None = None


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A consumer of a group. It is alive by its heartbeat, or, where it never sent one, by what it lately did.

    `left` means that it went away in good order and still holds something for its peers to take over.
    """

    name: str
    alive: bool
    left: bool
    last_beat: datetime | None
    silent: timedelta | None
    idle: timedelta
    pending: int
    retry_pending: int
    handles: frozenset[str] | None = None
    """The event types of the stream that it has handlers for; `None` where it has not said so."""

    @property
    def holds(self) -> int:
        """Entries pending on it, those of the retry stream included."""
        return self.pending + self.retry_pending

    @property
    def resting(self) -> bool:
        """Whether it neither beats nor works nor holds anything: another library's, or made by hand, and no harm."""
        return not self.alive and self.last_beat is None and not self.left and not self.holds


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group on a stream, and on its own retry stream, if it has one."""

    name: str
    main: Progress
    retry: Progress | None
    consumers: tuple[ConsumerState, ...]
    dead_letters: int
    aside: AsideState = AsideState()

    @property
    def unfinished_retries(self) -> int:
        """Redriven events that the group has not finished with."""
        return self.retry.lag.entries + self.retry.pending if self.retry else 0

    @property
    def unfinished(self) -> int:
        """All that the group has not finished with."""
        return self.main.lag.entries + self.main.pending + self.unfinished_retries + self.aside.count


@dataclass(frozen=True, slots=True)
class DeadLetterState:
    """A stream's dead letters.

    `by_group` and `by_reason` tell the newest of them apart; `partial` means that there are more.
    """

    stream: str
    length: int
    oldest_age: timedelta | None
    newest_age: timedelta | None
    by_group: Mapping[str, int]
    by_reason: Mapping[str, int]
    partial: bool


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream at one moment; `memory` is in bytes, about, `None` where the server doesn't let us ask."""

    name: str
    exists: bool
    at: datetime
    length: int
    entries_added: int
    last_generated_id: str
    oldest_age: timedelta | None
    newest_age: timedelta | None
    memory: int | None
    groups: tuple[GroupState, ...]
    dead_letters: DeadLetterState
