"""A proxy before the server that understands commands, and at a chosen moment of a chosen one lets something happen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from .resp import Messages, words

HOST = "127.0.0.1"
_CHUNK = 65536


class Moment(Enum):
    """Where a command is on its way."""

    ARRIVING = "before it reaches the server"
    RUN = "after it has run, before its reply goes out"
    ANSWERED = "after its reply has gone out"


@dataclass(frozen=True)
class Command:
    """One command, and the name that its sender gave its connection."""

    words: list[bytes]
    sender: str

    @property
    def pod(self) -> str:
        """Who sent it: connections are called `<service>:<pod>`."""
        return self.sender.partition(":")[2]


Matches = Callable[[Command, bytes], bool]
"""Whether this is the command meant; the reply as it came over the wire, empty while there is none."""


@dataclass(eq=False)
class Trap:
    """Springs once, at the first command that matches: `act` runs while the connection stands still."""

    moment: Moment
    matches: Matches
    act: Callable[[Command, Line], Awaitable[None]]
    sprung: asyncio.Future[Command] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def spring(self, command: Command, line: Line) -> None:
        """Act, and let those know who wait for it."""
        try:
            await self.act(command, line)
        except Exception as error:  # noqa: BLE001 - it is raised where the test waits
            self._tell(error)
        else:
            self._tell(command)

    def _tell(self, outcome: Command | Exception) -> None:
        if self.sprung.done():
            return
        if isinstance(outcome, Exception):
            self.sprung.set_exception(outcome)
        else:
            self.sprung.set_result(outcome)


@dataclass
class Refusal:
    """Commands that are answered by us, as a server would that can't run them now."""

    matches: Matches
    reply: bytes
    refused: deque[Command] = field(default_factory=deque)


class Line:
    """One client's connection and the one to the server behind it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._from_client, self._to_client = proxy, reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._awaited: deque[tuple[Command, bytes]] = deque()  # with the reply, where it is ours
        self.sender = ""
        self.is_cut = False

    def cut(self) -> None:
        """Drop both connections at once; what stands still on its way never arrives."""
        self.is_cut = True
        for writer in (self._to_client, self._to_server):
            if writer is not None:
                writer.transport.abort()

    async def run(self) -> None:
        """Carry commands and replies until one side is gone."""
        try:
            from_server, self._to_server = await asyncio.open_connection(HOST, self._proxy.server_port)
            pumps = [asyncio.create_task(self._commands()), asyncio.create_task(self._replies(from_server))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.cut()
                for pump in pumps:
                    # One that acts upon a trap is let finish: it ends by itself, because the line is cut.
                    await asyncio.wait([pump])
        except OSError:
            pass
        finally:
            self.cut()
            for writer in (self._to_client, self._to_server):
                if writer is not None:
                    with suppress(OSError):
                        await writer.wait_closed()

    async def _commands(self) -> None:
        messages = Messages()
        with suppress(OSError):
            while data := await self._from_client.read(_CHUNK):
                for raw in messages.feed(data):
                    await self._carry(raw)
                    if self.is_cut:
                        return

    async def _carry(self, raw: bytes) -> None:
        command = Command(words(raw), self.sender)
        if [word.upper() for word in command.words[:2]] == [b"CLIENT", b"SETNAME"]:
            self.sender = command.words[2].decode()
        if refusal := self._proxy.refusal_of(command):
            refusal.refused.append(command)
            self._awaited.append((command, refusal.reply))
            self._answer_ourselves()
            return
        await self._proxy.pass_by(Moment.ARRIVING, command, b"", self)
        if not self.is_cut and self._to_server is not None:
            self._awaited.append((command, b""))
            self._to_server.write(raw)
            await self._to_server.drain()

    async def _replies(self, from_server: asyncio.StreamReader) -> None:
        messages = Messages()
        with suppress(OSError):
            while data := await from_server.read(_CHUNK):
                for raw in messages.feed(data):
                    command, _ = self._awaited.popleft()
                    await self._proxy.pass_by(Moment.RUN, command, raw, self)
                    await self._reply(raw)
                    await self._proxy.pass_by(Moment.ANSWERED, command, raw, self)
                    if self.is_cut:
                        return

    async def _reply(self, raw: bytes) -> None:
        if not self.is_cut:
            self._to_client.write(raw)
            await self._to_client.drain()
            self._answer_ourselves()

    def _answer_ourselves(self) -> None:
        while self._awaited and self._awaited[0][1]:
            self._to_client.write(self._awaited.popleft()[1])


class Proxy:
    """Listens on a port of its own and carries everything to and from the server, traps aside."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self._traps: list[Trap] = []
        self._refusals: list[Refusal] = []
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._listening: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        self.cut(lambda _: True)
        await asyncio.gather(*self._lines.values(), return_exceptions=True)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{HOST}:{self.port}/0"

    def cut(self, chosen: Callable[[Line], bool]) -> None:
        """Cut some of the connections."""
        for line in list(self._lines):
            if chosen(line):
                line.cut()

    @contextmanager
    def trap(self, moment: Moment, matches: Matches, act: Callable[[Command, Line], Awaitable[None]]) -> Iterator[Trap]:
        """Set a trap for the block."""
        trap = Trap(moment, matches, act)
        self._traps.append(trap)
        try:
            yield trap
        finally:
            if trap in self._traps:
                self._traps.remove(trap)

    @contextmanager
    def refusing(self, matches: Matches, error: str = "LOADING the dataset is being loaded") -> Iterator[Refusal]:
        """Answer such commands with an error, for the block."""
        refusal = Refusal(matches, f"-{error}\r\n".encode())
        self._refusals.append(refusal)
        try:
            yield refusal
        finally:
            self._refusals.remove(refusal)

    def refusal_of(self, command: Command) -> Refusal | None:
        """What refuses this command, if anything does."""
        return next((refusal for refusal in self._refusals if refusal.matches(command, b"")), None)

    async def pass_by(self, moment: Moment, command: Command, reply: bytes, line: Line) -> None:
        """Spring the first trap that this command is for."""
        for trap in self._traps:
            if trap.moment is moment and trap.matches(command, reply):
                self._traps.remove(trap)
                await trap.spring(command, line)
                return

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._lines[line] = task
        try:
            await line.run()
        finally:
            del self._lines[line]
