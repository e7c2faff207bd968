"""Requests and commands carried into the cluster, by one `kubectl exec` that is begun anew whenever it breaks."""

from __future__ import annotations

import asyncio
import itertools
import json
from asyncio.subprocess import PIPE, Process
from typing import Any

from tests.e2e.asking import NoAnswer

from .manifests import AGENT_NAME
from .tools import Tools

_PATIENCE = 15.0
_COMMAND = ("exec", "-i", AGENT_NAME, "--", "python", "-u", "/code/agent.py", "relay")


class AgentProblem(Exception):
    """What was asked for failed inside the cluster; the message is the agent's."""


class Relay:
    """Talks to the agent. When it breaks, whoever waits gets `NoAnswer`, and the next question mends it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def ask(self, what: str, **details: Any) -> Any:
        """Have the agent do something; its answer. Raises `NoAnswer`, `AgentProblem`."""
        process = await self._connected()
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"id": number, "do": what, **details}).encode() + b"\n")
            async with asyncio.timeout(_PATIENCE):
                await process.stdin.drain()
                return await future
        except (OSError, TimeoutError) as error:
            raise NoAnswer(f"the relay: {type(error).__name__}: {error}") from error
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End it."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _connected(self) -> Process:
        async with self._starting:
            if self.process is None or self._reading is None or self._reading.done():
                self.process = await self._start()
                self._reading = asyncio.create_task(self._read(self.process), name="relay")
            return self.process

    async def _start(self) -> Process:
        await self.close()
        process = await self._tools.spawn(self._tools.kubectl_command(*_COMMAND), stdin=PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(_PATIENCE):
                greeting = await process.stdout.readline()
        except TimeoutError:
            greeting = b""
        if not greeting:
            if process.returncode is None:
                process.kill()
            complaint = (await process.stderr.read()).decode(errors="replace").strip()
            await process.wait()
            raise NoAnswer(f"no relay to {AGENT_NAME}: {complaint or 'it is silent'}")
        return process

    async def _read(self, process: Process) -> None:
        """Hand out answers until there are no more."""
        assert process.stdout is not None
        assert process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        try:
            while line := await process.stdout.readline():
                said = json.loads(line)
                if (future := self._waiting.get(said["id"])) and not future.done():
                    if "error" in said:
                        future.set_exception(AgentProblem(said["error"]))
                    else:
                        future.set_result(said["answer"])
        finally:
            complaint = (await complaints).decode(errors="replace").strip()
            await process.wait()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(NoAnswer(f"the relay broke: {complaint or 'it ended'}"))
