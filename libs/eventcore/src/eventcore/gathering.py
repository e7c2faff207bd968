"""Gathering: what is to be committed in one turn of the event loop is committed together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from .commit import Answer, Work

# So that the server works on the first of a crowd while we prepare the next.
most_at_once = 24


class Waiting(NamedTuple):
    """Work that somebody waits for, unless they have given up."""

    work: Work
    answer: asyncio.Future[Answer]

    @classmethod
    def on(cls, work: Work) -> Waiting:
        """Begin to wait."""
        return cls(work, asyncio.get_running_loop().create_future())


def answer_all(waiting: Iterable[Waiting], answers: Iterable[Answer]) -> None:
    """Tell everybody who still waits."""
    for each, answer in zip(waiting, answers, strict=True):
        if not each.answer.done():
            each.answer.set_result(answer)


class GatheringCommitter:
    """Commits for many callers at once, by `commit_all`: that takes less time for each than if all did so alone.

    Requests come in crowds: sockets are read one after the other, then all of their handlers run.
    """

    def __init__(self, commit_all: Callable[[list[Work]], Awaitable[list[Answer]]]) -> None:
        self._commit_all = commit_all
        self._queue: list[Waiting] = []
        self._flushing: asyncio.Task[None] | None = None

    def commit(self, work: Work) -> asyncio.Future[Answer]:
        """The answer; raises as `commit_all` does."""
        if not self._queue:
            self._begin()
        waiting = Waiting.on(work)
        self._queue.append(waiting)
        return waiting.answer

    def _begin(self) -> None:
        self._flushing = asyncio.create_task(self._flush(), name="commits")

    async def _flush(self) -> None:
        batch, self._queue = self._queue[:most_at_once], self._queue[most_at_once:]
        if self._queue:
            self._begin()
        try:
            answers = await self._commit_all([each.work for each in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
        else:
            answer_all(batch, answers)
