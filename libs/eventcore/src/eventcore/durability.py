"""Durable commits: answered only once the append-only file is synced, or replicas have the write."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import StrEnum

from .commit import Answer, Committed, Committer, GuardsFailed, Work
from .errors import OutcomeUnknown, SettingsError
from .gathering import answer_all
from .pipe import Command, Pipe, ServerError

# How long a commit may take to become durable; `appendfsync everysec` needs a second.
patience = timedelta(seconds=3)


class Durability(StrEnum):
    """What has to have happened to a commit before it is answered."""

    MEMORY = "memory"
    """The server has run it. What a crash can then still lose is the server's `appendfsync` (a second at most)."""
    DISK = "disk"
    """Its append-only file is synced (`WAITAOF`: Redis or Valkey 7.2)."""
    REPLICA = "replica"
    """So many replicas have it in memory (`WAIT`)."""


class DurableCommitter:
    """Commits what arrives while the last sync was under way, together, and waits for one sync for all of it.

    Waiting holds up a whole connection, so this has a pipe of its own.
    """

    def __init__(self, pipe: Pipe, committer: Committer, durability: Durability, *, replicas: int = 1) -> None:
        self.pipe, self._committer = pipe, committer
        to_replicas = durability is Durability.REPLICA
        self._enough = replicas if to_replicas else 1
        self._wait: Command = ("WAIT", replicas) if to_replicas else ("WAITAOF", 1, 0)
        self._work: list[Work] = []
        self._waiting: list[asyncio.Future[Answer]] = []  # for the answer to each
        self._flushing: asyncio.Task[None] | None = None

    async def check_server(self) -> None:
        """Raise `SettingsError` where the server can't do what is asked."""
        try:
            await self.pipe.execute(*self._wait, 1)
        except ServerError as error:
            raise SettingsError(f"ORDER_DURABILITY: the server can't wait for this: {error}") from error

    async def commit(self, work: Work) -> Answer:
        """The answer, once what was written is durable. An exception is returned, as by `Committer.commit_all`.

        `Unavailable` with a commit that ran but did not become durable in time: repeating it is safe where its guards
        make it so.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._work.append(work)
        self._waiting.append(answer)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="durable-commits")
        return await answer

    async def _flush(self) -> None:
        while self._work:
            work, self._work = self._work, []
            waiting, self._waiting = self._waiting, []
            answer_all(waiting, await self._answers(work))

    async def _answers(self, work: list[Work]) -> list[Answer]:
        try:
            answers = await self._committer.commit_all(work)
            if not any(map(_has_to_wait, answers)):
                return answers
            reached = await self.pipe.execute(*self._wait, int(patience.total_seconds() * 1000))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            return [error] * len(work)
        count = reached[0] if isinstance(reached, list) else reached
        if count >= self._enough:
            return answers
        late = OutcomeUnknown("committed, but not durable in time", retry_after=timedelta(seconds=1))
        return [late if _has_to_wait(answer) else answer for answer in answers]


def _has_to_wait(answer: Answer) -> bool:
    """A guard may fail because of a commit of ours that is not durable yet: the same request, repeated."""
    return isinstance(answer, Committed | GuardsFailed)
