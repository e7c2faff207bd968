"""What a durability promises, and whether a server keeps it, found out by asking it to."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from eventcore.errors import Forbidden, NotDurable, SettingsError, Unavailable
from eventcore.server.pipe import Command, Reply

log = logging.getLogger(__name__)

# How long a commit may take to become durable; `appendfsync everysec` needs a second.
CONFIRM_WITHIN = timedelta(seconds=3)
# How long it may take to find out whether a server can be trusted: enough for four syncs, one a second.
PROOF = timedelta(seconds=4.5)
# With `everysec` a sync begins once a second: three answers of WAITAOF within a second can't all be true, unless a sync
# came by chance; so many can't. Two that took about a second each show that it waits.
MANY, SLOW_SECONDS = 5, 0.5
MOST_REPLICAS = 100
# A key of our own to write to before we wait: a server waits only for what the connection that asks has written.
MARKER, MARKER_MILLISECONDS = "durability:marker", 60_000

Ask = Callable[[Sequence[Command]], Awaitable[list[Reply]]]
Unproven = Literal["refuse", "warn"]


class Durability(StrEnum):
    """What has to have happened to a commit before it is answered."""

    MEMORY = "memory"
    """The server has run it. What a crash can then still lose is the server's `appendfsync` (a second at most)."""
    DISK = "disk"
    """Its append-only file is synced (`WAITAOF`: Redis or Valkey 7.2)."""
    REPLICA = "replica"
    """So many replicas have it in memory (`WAIT`)."""


class Promise:
    """The promise that an answered commit is on disk or at replicas: how to wait for that, and which servers keep it.

    `unproven` says what to do with a server whose `WAITAOF` answers before the sync: refuse it, or only warn.
    """

    def __init__(
        self, durability: Durability, *, replicas: int = 1, prefix: str = "", unproven: Unproven = "refuse"
    ) -> None:
        if not 1 <= replicas <= MOST_REPLICAS:
            raise ValueError(f"replicas must be from 1 to {MOST_REPLICAS}, not {replicas}")
        self.name = f"ORDER_DURABILITY={durability}"
        self._to_disk = durability is Durability.DISK
        self._enough = 1 if self._to_disk else replicas
        milliseconds = CONFIRM_WITHIN // timedelta(milliseconds=1)
        self._mark: Command = ("SET", prefix + MARKER, "", "PX", MARKER_MILLISECONDS)
        self._wait: Command = ("WAITAOF", 1, 0, milliseconds) if self._to_disk else ("WAIT", replicas, milliseconds)
        self._unproven = unproven
        self._policy: str | None = None  # the server's `appendfsync`, where we may ask
        self._timed: tuple[bytes | None, str | None] | None = None  # which server, with which `appendfsync`

    @property
    def commands(self) -> list[Command]:
        """What to send after commits, over their connection: once all is answered, what the server had run is durable.

        What a repeated request finds may have been written by another connection a moment ago. The server waits for
        that too, because we write something after it.
        """
        watched: list[Command] = [("CONFIG", "GET", "appendfsync")] if self._policy else []
        return [self._mark, self._wait, *watched]

    def broken(self, replies: Sequence[Reply]) -> str | None:
        """Why the replies to `commands` don't mean that all is durable; `None` if they do."""
        marked, reached, *watched = replies
        for reply in (marked, reached):
            if isinstance(reply, Exception):
                return str(reply)
        if watched and (policy := _value(watched[0])) != self._policy:
            return f"the server's appendfsync has changed from {self._policy} to {policy}"
        count: int = reached[0] if self._to_disk else reached
        if count >= self._enough:
            return None
        late = f"within {CONFIRM_WITHIN.total_seconds():g} s"
        return f"not synced {late}" if self._to_disk else f"{count} of {self._enough} replicas had it {late}"

    async def prove(self, ask: Ask) -> None:
        """Find out, over a new connection, whether its server keeps the promise.

        Raises `SettingsError` where it can't, `Unavailable` where it doesn't now.
        """
        if not self._to_disk:
            if late := await self._late(ask):
                raise SettingsError(f"{self.name}: {late}; ORDER_DURABILITY_REPLICAS says how many must")
            return
        server, persistence, policy = await ask(
            [("INFO", "server"), ("INFO", "persistence"), ("CONFIG", "GET", "appendfsync")]
        )
        self._policy = _value(policy)
        if _line(persistence, b"aof_enabled") == b"0":
            raise SettingsError(f"{self.name}: the server has no append-only file; set its appendonly to yes")
        if self._policy == "no":
            raise SettingsError(f"{self.name}: the server's appendfsync is no; set it to always, or to everysec")
        seen = (_line(server, b"run_id"), self._policy)
        if self._policy == "always" or (self._timed == seen and seen[0] is not None):
            await self._sync(ask)
        else:
            await self._time(ask)
            self._timed = seen

    async def _time(self, ask: Ask) -> None:
        """Raise `SettingsError` where WAITAOF answers more often than a server syncs that does so once a second."""
        answered = [await self._sync(ask)]
        while (waits := waits_for_the_sync(answered)) is None:
            if answered[-1] - answered[0] > PROOF.total_seconds():
                raise NotDurable(f"{self.name}: can't tell yet whether the server syncs before it answers")
            answered.append(await self._sync(ask))
        if waits:
            return
        message = (
            f"{self.name}: WAITAOF answered {MANY} times in {(answered[-1] - answered[-MANY]) * 1000:.0f} ms, but "
            f"appendfsync everysec syncs once a second (here it {self._policy_told}): a power cut would lose orders. "
            "Set appendfsync to always, or use a server that waits, as Redis does from 7.4.3 on"
        )
        if self._unproven == "refuse":
            raise SettingsError(f"{message} (or ORDER_DURABILITY_CHECK=warn to run anyway)")
        log.warning("ORDER_DURABILITY is not proven, the service runs anyway: %(reason)s", {"reason": message})

    @property
    def _policy_told(self) -> str:
        return f"is {self._policy}" if self._policy else "can't be read: CONFIG GET is not permitted"

    async def _sync(self, ask: Ask) -> float:
        """Write something and wait for its sync; when that was answered."""
        if late := await self._late(ask):
            if self._policy is None:
                raise SettingsError(f"{self.name}: {late}; is the server's appendfsync no?")
            raise NotDurable(f"{self.name}: {late}")
        return time.monotonic()

    async def _late(self, ask: Ask) -> str | None:
        """Write something and wait for it; why it is not durable now. Raises where the server refuses to be asked."""
        # One after the other: sent together, a server that does not wait would answer with its next tick, not at once.
        replies = [*await ask([self._mark]), *await ask([self._wait])]
        for reply in replies:
            if isinstance(reply, Unavailable) and not isinstance(reply, Forbidden):
                raise reply
            if isinstance(reply, Exception):
                raise SettingsError(f"{self.name}: the server can't wait for this: {reply}") from reply
        return self.broken(replies)


def waits_for_the_sync(answered: Sequence[float]) -> bool | None:
    """Whether WAITAOF does, by the seconds at which it answered in turn; `None` while that can't be told."""
    if len(answered) >= MANY and answered[-1] - answered[-MANY] < 1:
        return False
    gaps = [later - earlier for earlier, later in pairwise(answered[-3:])]
    return True if len(gaps) == 2 and min(gaps) > SLOW_SECONDS else None


def _line(report: Reply, name: bytes) -> bytes | None:
    """A value of INFO; `None` where it isn't told."""
    if isinstance(report, Exception):
        return None
    lines: list[bytes] = report.splitlines()
    return next((line.partition(b":")[2].strip() for line in lines if line.startswith(name + b":")), None)


def _value(reply: Reply) -> str | None:
    """The answer to CONFIG GET of one name; `None` where we may not look."""
    return None if isinstance(reply, Exception) or len(reply) != 2 else reply[1].decode()
