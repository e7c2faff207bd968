"""A pipe that goes nowhere by itself: each request waits until somebody decides what becomes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from redis.asyncio.connection import AbstractConnection

from eventcore.errors import OutcomeUnknown, Unavailable
from eventcore.server.pipe import Argument, Command, Pipe, Reply


@dataclass(frozen=True)
class Request:
    """Commands that were sent together, and who waits for the replies."""

    commands: tuple[Command, ...]
    replies: asyncio.Future[list[Reply]]


class Gate(Pipe):
    """One connection of a pod: requests wait in the order in which they were sent, as they would on the way."""

    def __init__(self, name: str) -> None:
        super().__init__(_nowhere, name=name)
        self.waiting: deque[Request] = deque()

    def start(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """Whoever waits hears that the connection is gone."""
        self.lose()

    @property
    def connected(self) -> bool:
        return True

    async def wait_connected(self, timeout: timedelta | None = None) -> None:
        return

    async def execute(self, *command: Argument) -> Reply:
        [reply] = await self.pipeline([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        if not commands:
            return []
        request = Request(tuple(commands), asyncio.get_running_loop().create_future())
        self.waiting.append(request)
        return await request.replies

    def answer(self, replies: list[Reply]) -> None:
        """Give the oldest request its replies."""
        request = self.waiting.popleft()
        if not request.replies.done():  # nobody waits any more for what was cancelled
            request.replies.set_result(replies)

    def refuse(self) -> None:
        """The server says to the oldest request that it can't do this now."""
        self.answer([Unavailable("LOADING the dataset is being loaded") for _ in self.waiting[0].commands])

    def lose(self) -> None:
        """The connection dies: whoever waits learns that nobody can tell what ran."""
        while self.waiting:
            request = self.waiting.popleft()
            if not request.replies.done():
                request.replies.set_exception(OutcomeUnknown("lost the connection to Redis: it was cut"))


async def _nowhere() -> AbstractConnection:
    return _never()


def _never() -> NoReturn:
    raise AssertionError("a gate connects to nothing")
