"""What every command works with: settings, a connection, a place to write."""

from __future__ import annotations

import asyncio
import difflib
import signal
from contextlib import suppress
from datetime import timedelta

import typer
from redis.asyncio import Redis

from eventcore.operate.inspection import Inspector
from eventcore.server.connection import Connector
from eventcore.settings import Settings

from .complaints import ToolFailure
from .output import Output

# Raised where there are no such signals, or outside the main thread.
_NO_SIGNALS = (NotImplementedError, RuntimeError, ValueError)


class Tool:
    """One run of the tool. An `endless` command is ended by Ctrl-C, which then is no failure."""

    def __init__(self, settings: Settings, connector: Connector, output: Output) -> None:
        self.settings, self.output = settings, output
        self.endless = False
        self._connector = connector
        self.redis: Redis = connector.client()
        self.inspector = Inspector(
            self.redis, prefix=settings.key_prefix, dead_after=timedelta(seconds=settings.dead_after_seconds)
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self.redis.aclose()
        await self._connector.close()

    def listen_for_ctrl_c(self) -> None:
        """Let Ctrl-C cancel the current task, surely.

        asyncio.run cancels it only once, and where redis-py waits for a write with `wait_for`, Python 3.11 may forget
        that (python/cpython#86296).
        """
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def interrupt() -> None:
            if task is not None and task.cancel():
                loop.call_later(0.1, interrupt)

        with suppress(*_NO_SIGNALS):
            loop.add_signal_handler(signal.SIGINT, interrupt)

    def ask(self, question: str) -> bool:
        """Ask on the terminal; Ctrl-C there raises `typer.Abort`."""
        with suppress(*_NO_SIGNALS):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        answer: bool = typer.confirm(question, err=True)
        self.listen_for_ctrl_c()
        return answer

    def name(self, given: str) -> str:
        """The name of a stream, given with or without the prefix."""
        return given.removeprefix(self.settings.key_prefix)

    async def stream(self, given: str) -> str:
        """The name of a stream that is there; raises `ToolFailure` if it isn't, `WrongType` if it is none."""
        name = self.name(given)
        if await self.inspector.is_stream(name):
            return name
        raise await self.no_stream(name)

    async def no_stream(self, name: str) -> ToolFailure:
        """What to say of a stream that isn't there."""
        streams = await self.inspector.streams()
        near = difflib.get_close_matches(name, streams, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(streams[:8]) or 'none'}"
        prefix = f" with the prefix {self.settings.key_prefix}" if self.settings.key_prefix else ""
        return ToolFailure(f"there is no stream {name}{prefix}; {hint}")
