"""Durable commits: answered only once the append-only file is synced, or replicas have the write."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from eventcore.errors import DurabilityUnknown, NotDurable, OutcomeUnknown, SettingsError, Unavailable
from eventcore.server.pipe import Pipe

from .committer import CommitAnswer, Committed, Committer, GuardsFailed, Work
from .durability import PROOF, Promise
from .per_turn import answer_all

SOON = timedelta(seconds=1)


class DurableCommitter:
    """Commits together what arrived during the last sync, and waits for one sync for all of it.

    Waiting holds up a whole connection, so `pipe` is for this alone. It connects only to servers that pass the promise.
    """

    def __init__(self, pipe: Pipe, committer: Committer, promise: Promise) -> None:
        self.pipe, self._committer, self._promise = pipe, committer, promise
        self._work: list[Work] = []
        self._waiting: list[asyncio.Future[CommitAnswer]] = []  # for the answer to each
        self._flushing: asyncio.Task[None] | None = None

    async def check_server(self) -> None:
        """Raise `SettingsError` where the server can't do what is asked, `Unavailable` where it doesn't (yet)."""
        await self.pipe.wait_connected(PROOF)

    @property
    def problem(self) -> str | None:
        """Why nothing can be committed now, as far as known; `None` where it can."""
        if self.pipe.connected:
            return None
        reason = str(self.pipe.failure or "the server is being tried")
        return reason if reason.startswith(self._promise.name) else f"{self._promise.name}: {reason}"

    async def commit(self, work: Work) -> CommitAnswer:
        """The answer, once what was written is durable. An exception is returned, as by `Committer.commit_all`.

        `NotDurable` where nothing was written, `DurabilityUnknown` where it was, and did not become durable in time:
        repeating it is safe where its guards make it so.
        """
        answer: asyncio.Future[CommitAnswer] = asyncio.get_running_loop().create_future()
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

    async def _answers(self, work: list[Work]) -> list[CommitAnswer]:
        try:
            await self.pipe.wait_connected(SOON)
            connection = self.pipe.connections
            answers = await self._committer.commit_all(work)
        except SettingsError as error:
            return [NotDurable(str(error), retry_after=SOON)] * len(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            return [error] * len(work)
        if not any(map(_promises, answers)):
            return answers
        failure = await self._failure(connection)
        return answers if failure is None else [failure if _promises(answer) else answer for answer in answers]

    async def _failure(self, connection: int) -> Exception | None:
        """Wait until all that was written over a connection is durable; why that is not known."""
        try:
            broken = self._promise.broken(await self.pipe.pipeline(self._promise.commands))
        except Unavailable as error:
            return OutcomeUnknown(str(error), retry_after=SOON)
        if broken is not None:
            reason = f"{self._promise.name}: {broken}"
            self.pipe.drop(NotDurable(reason, retry_after=SOON))  # the next connection has to prove itself
            return DurabilityUnknown(reason, retry_after=SOON)
        if self.pipe.connections != connection:  # another server may have answered, which never had the commits
            return OutcomeUnknown("lost the connection to Redis before all was durable", retry_after=SOON)
        return None


def _promises(answer: CommitAnswer) -> bool:
    """Whether to wait: also where a guard failed, for the commit that it saw may not be durable yet."""
    return isinstance(answer, Committed | GuardsFailed)
