"""One connection, many awaiters: commands of one loop tick leave in one write, replies are matched in order.

redis-py makes the connection (address, TLS, authentication, Sentinel); from then on its transport is ours, because a
pooled connection per concurrent command is what holds its asyncio client back. Nothing is ever sent twice: when the
connection dies, whoever waits for a reply gets `OutcomeUnknown` and decides.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError

from eventcore.errors import (
    Conflict,
    EventcoreError,
    Forbidden,
    NotDurable,
    OutcomeUnknown,
    SettingsError,
    StreamFull,
    Unavailable,
)

log = logging.getLogger(__name__)

# No command waits on the server for longer, so that a stop and a dead connection are soon noticed.
LONGEST_BLOCK = timedelta(seconds=2)

Argument = str | bytes | int | float
Command = tuple[Argument, ...]
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)
Reply = Any  # what hiredis makes of RESP2: bytes, int, None, lists of these, or an exception in an error's place

# Replies by which a server says "not now" (RESP error codes; Redis and Valkey agree on them).
_NOT_NOW = frozenset(
    {"OOM", "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS", "BUSY"}
)
# By which a node of a Cluster says that another one has the key's slot: nothing was done.
_ELSEWHERE = frozenset({"MOVED", "ASK"})


# What the error of a script says that the server has ended at a command its user may not run (Redis, Valkey).
_FORBIDDEN_IN_SCRIPT = ("The user executing the script can't ", "ACL failure in script: ")
_USED_UP = "exhausted the last possible ID"


class ServerError(EventcoreError):
    """The server refused a command for a reason that trying later does not mend; `code` is the first word."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class WrongPassword(EventcoreError):
    """The server does not accept our credentials: waiting won't help."""


# Why a connection is refused by us, or to us: whoever waits for one hears of it at once.
_REFUSALS = (WrongPassword, SettingsError, NotDurable)


def argument_shown(argument: Argument) -> str:
    """For people."""
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(argument)


def server_error(message: str) -> EventcoreError:
    """What an error reply means to us."""
    code = message.partition(" ")[0]
    if code in _NOT_NOW:
        return Unavailable(message, retry_after=timedelta(seconds=1))
    if code in _ELSEWHERE:
        hint = "REDIS_URL must name the node of the Cluster that has the slot of KEY_PREFIX"
        return Unavailable(f"{message}: {hint}", retry_after=timedelta(seconds=1))
    if code == "WRONGTYPE":
        return Conflict(message)
    if code == "NOPERM" or message.removeprefix("ERR ").startswith(_FORBIDDEN_IN_SCRIPT):
        return Forbidden(message.partition(" ")[2].partition(" script: ")[0])
    if _USED_UP in message:
        return StreamFull(message, retry_after=timedelta(seconds=1))
    return ServerError(message)


class _Link(asyncio.Protocol):
    """One connection's life: from the moment it is ours until it is lost."""

    def __init__(self, timeout: float, on_lost: Callable[[Exception | None], None]) -> None:
        self.timeout, self._on_lost = timeout, on_lost
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._keep: object = None
        self._reader = hiredis.Reader(replyError=self._error)
        self._outgoing: list[bytes] = []
        self._awaited: deque[tuple[int, asyncio.Future[list[Reply]]]] = deque()
        self._replies: list[Reply] = []
        self._heard = 0
        self.demoted = False
        self._watch: asyncio.TimerHandle | None = None

    def adopt(self, connection: AbstractConnection) -> None:
        """Take over the transport of a connection that redis-py has just made and authenticated."""
        raw = cast(Any, connection)
        # The writer must live as long as the transport: it closes it when it is collected.
        self._keep = raw._writer
        raw_transport: asyncio.Transport = raw._writer.transport
        self._transport = raw_transport
        raw_transport.set_protocol(self)
        raw._writer = raw._reader = None

    @property
    def alive(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        packed = [*map(_pack, commands)]  # before anything else: an argument that can't be packed must leave no trace
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += packed
        self._awaited.append((len(packed), future))
        if self._watch is None:
            self._watch = self._loop.call_later(self.timeout, self._check, self._heard)
        return future

    def _flush(self) -> None:
        data, self._outgoing = b"".join(self._outgoing), []
        if self.alive and self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        self._reader.feed(data)
        next_reply, awaited, replies = self._reader.gets, self._awaited, self._replies
        try:
            while (reply := next_reply()) is not False:
                replies.append(reply)
                count, future = awaited[0]
                if len(replies) == count:
                    awaited.popleft()
                    if not future.done():
                        future.set_result(replies)
                    replies = self._replies = []
        except hiredis.ProtocolError as error:
            self.abort(error)
        if self.demoted:  # whoever is the master now is found by connecting again
            self.abort(ConnectionError("the server became a replica"))

    def _error(self, message: str) -> EventcoreError:
        self.demoted = self.demoted or message.startswith("READONLY")
        return server_error(message)

    def _check(self, heard_before: int) -> None:
        """Nothing came for a whole timeout although something is awaited: the peer is dead."""
        self._watch = None
        if not self._awaited:
            return
        if self._heard == heard_before:
            self.abort(TimeoutError(f"no reply within {self.timeout:g} s"))
        else:
            self._watch = self._loop.call_later(self.timeout, self._check, self._heard)

    def abort(self, error: Exception) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(error)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost.done():
            return
        if self._watch is not None:
            self._watch.cancel()
        self.lost.set_result(None)
        self._on_lost(exc)
        for _, future in self._awaited:
            if not future.done():
                future.set_exception(OutcomeUnknown(f"lost the connection to Redis: {exc or 'closed by the server'}"))
        self._awaited.clear()


class Pipe:
    """A self-mending, pipelined connection to Redis.

    `timeout` bounds the wait for any reply, `patience` how long a command waits for a connection before it fails with
    `Unavailable`. `prove` is given each new connection, before anybody else, and raises where it must not be used.
    Used within an event loop: `async with Pipe(connect) as pipe`.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AbstractConnection]],
        *,
        name: str = "commands",
        timeout: timedelta = timedelta(seconds=5),
        patience: timedelta = timedelta(seconds=1),
        on_connect: Sequence[Command] = (),
        prove: Callable[[Callable[[Sequence[Command]], Awaitable[list[Reply]]]], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.greeting: list[Reply] = []
        self.connections: int = 0
        """How many there have been: what was sent while it stayed the same went over one of them."""
        self.connected_at: float = 0.0
        """When the latest began, by the monotonic clock."""
        self._prove = prove
        self._connect, self._on_connect = connect, tuple(on_connect)
        self._timeout, self._patience = timeout.total_seconds(), patience.total_seconds()
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()  # connected, or refused for good
        self._keeper: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    def start(self) -> None:
        """Begin to connect, and go on doing so whenever the connection is lost."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_connected(), name=f"redis-{self.name}")

    async def close(self) -> None:
        """Drop the connection; commands under way get `OutcomeUnknown`."""
        while self._keeper is not None and not self._keeper.done():
            # Again and again: before Python 3.12 `wait_for`, within redis-py, can swallow a cancellation (gh-86296).
            self._keeper.cancel()
            await asyncio.wait([self._keeper], timeout=0.1)
        if self._link is not None:
            self._link.close()
            self._link.connection_lost(None)
        self._ready.clear()
        self._settled.clear()

    def drop(self, reason: Exception) -> None:
        """Give the connection up and make another; commands under way get `OutcomeUnknown`."""
        if self._link is not None:
            self._link.abort(reason)

    @property
    def connected(self) -> bool:
        """Whether a command would be sent at once."""
        return self._ready.is_set()

    @property
    def failure(self) -> Exception | None:
        """Why there is no connection, as far as known."""
        return None if self.connected else self._failure

    async def wait_connected(self, timeout: timedelta | None = None) -> None:
        """Return once connected. Raises `Unavailable` after `timeout`, and at once why no connection may be used."""
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(timeout.total_seconds() if timeout is not None else None):
                await self._settled.wait()
        except TimeoutError:
            if not isinstance(self._failure, _REFUSALS):
                reason = self._failure or "still connecting"
                error = Unavailable(f"Redis is out of reach: {reason}", retry_after=timedelta(seconds=1))
                raise error from self._failure
        if isinstance(self._failure, _REFUSALS):
            raise self._failure.with_traceback(None)  # which would grow each time

    async def execute(self, *command: Argument) -> Reply:
        """Send one command; its reply. Raises what `server_error` makes of an error reply."""
        link = self._open_link or await self._connected_link()
        [reply] = await link.send([command])
        if isinstance(reply, Forbidden) and len(command) > 1 and reply.command is None:  # the server names no key
            words = " ".join(map(argument_shown, command[:2]))
            raise Forbidden(f"{reply} ({words})") from reply
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pipeline(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """Send commands back to back; their replies in order, an exception standing where a command failed.

        Raises `Unavailable` when nothing was sent, `OutcomeUnknown` when the connection died in between.
        """
        if commands and (link := self._open_link) is not None:
            return link.send(commands)
        return self._send_once_connected(commands)

    async def _send_once_connected(self, commands: Sequence[Command]) -> list[Reply]:
        return await (await self._connected_link()).send(commands) if commands else []

    @property
    def _open_link(self) -> _Link | None:
        """The connection, if there is one that can be sent to."""
        link = self._link
        return link if link is not None and link.alive else None

    async def _connected_link(self) -> _Link:
        """Wait for a connection, as long as `patience` allows."""
        for _ in range(2):
            if self._link is not None and not self._link.alive:
                self._link.connection_lost(None)  # the transport is about to say so
            await self.wait_connected(timedelta(seconds=self._patience))
            if (link := self._open_link) is not None:
                return link
        raise Unavailable("Redis is out of reach: just lost the connection", retry_after=timedelta(seconds=1))

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            try:
                link = await self._open()
            except Exception as error:  # noqa: BLE001 - whatever it is, we can only try again
                attempt += 1
                self._note(error)
                await asyncio.sleep(min(attempt * 0.5, 5) * random.uniform(0.5, 1))
                continue
            attempt, self._failure = 0, None
            self._link = link
            self.connections += 1
            self.connected_at = time.monotonic()
            self._ready.set()
            self._settled.set()
            await asyncio.shield(link.lost)  # `close` cancels us, and the link has still to tell those who wait
            log.warning(
                "lost the connection to Redis (%(connection)s), connecting again: %(error)s",
                {"connection": self.name, "error": self.failure or "closed by the server"},
            )
            if link.demoted:  # until there is a new master, the next connection may lead to the same replica
                await asyncio.sleep(random.uniform(0.5, 1))

    async def _open(self) -> _Link:
        connection = await self._connect()
        link = _Link(self._timeout, self._note_loss)
        link.adopt(connection)
        try:
            replies = await link.send(self._on_connect) if self._on_connect else []
            for reply in replies:
                if isinstance(reply, Exception) and not isinstance(reply, Forbidden):  # which is for nothing vital
                    raise reply
            if self._prove is not None:
                await self._prove(link.send)
        except BaseException:
            link.close()
            link.connection_lost(None)
            raise
        self.greeting = replies
        return link

    def _note_loss(self, error: Exception | None) -> None:
        if self._link is None:
            return  # it was never used: why not is what counts
        self._failure, self._link = error, None
        self._ready.clear()
        self._settled.clear()

    def _note(self, error: Exception) -> None:
        message = str(error)
        if isinstance(error, AuthenticationError) or message.startswith(("WRONGPASS", "NOAUTH")):
            error = WrongPassword(f"Redis refuses our credentials: {message}")
        if isinstance(error, _REFUSALS):
            self._settled.set()
        else:
            self._settled.clear()
        if str(error) != str(self._failure):
            said = {"connection": self.name, "error": error}
            if isinstance(error, _REFUSALS):
                log.warning("can't use Redis (%(connection)s), trying again: %(error)s", said)
            else:
                log.warning("can't reach Redis (%(connection)s), trying again: %(error)s", said)
        self._failure = error
