"""Gathering: commits of one turn of the event loop go to the server together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from .committer import CommitAnswer, Work

# So that the server works on the first of a crowd while we prepare the next.
MOST_AT_ONCE = 24


def answer_all(waiting: Iterable[asyncio.Future[CommitAnswer]], answers: Iterable[CommitAnswer]) -> None:
    """Give each waiting caller its answer, but for those that were cancelled."""
    for each, answer in zip(waiting, answers, strict=True):
        if not each.done():
            each.set_result(answer)


class GatheringCommitter:
    """Commits for many callers by one `commit_all`, which costs each less than a call of its own.

    Requests come in crowds: sockets are read one after the other, then all of their handlers run.
    """

    def __init__(self, commit_all: Callable[[list[Work]], Awaitable[list[CommitAnswer]]]) -> None:
        self._commit_all = commit_all
        self._work: list[Work] = []
        self._waiting: list[asyncio.Future[CommitAnswer]] = []  # for the answer to each
        self._flushing: asyncio.Task[None] | None = None

    def commit(self, work: Work) -> asyncio.Future[CommitAnswer]:
        """The answer; raises as `commit_all` does."""
        if not self._work:
            self._begin()
        answer: asyncio.Future[CommitAnswer] = asyncio.get_running_loop().create_future()
        self._work.append(work)
        self._waiting.append(answer)
        return answer

    def _begin(self) -> None:
        self._flushing = asyncio.create_task(self._flush(), name="commits")

    async def _flush(self) -> None:
        work, self._work = self._work[:MOST_AT_ONCE], self._work[MOST_AT_ONCE:]
        waiting, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        if self._work:
            self._begin()
        try:
            answers = await self._commit_all(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for each in waiting:
                if not each.done():
                    each.set_exception(error)
        else:
            answer_all(waiting, answers)
