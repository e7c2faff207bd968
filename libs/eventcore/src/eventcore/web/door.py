"""Accepting connections: as many as leave file descriptors for Redis and the service's other needs."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from aiohttp import web

from eventcore.settings import Settings
from eventcore.telemetry.measurements import clients_limited

from .clients import CLIENTS, network_of
from .listener import Connection
from .problems import Problem

log = logging.getLogger(__name__)

# File descriptors for Redis, the collector, name resolution and files; each handler may want one more.
RESERVE = 192
# At most so many are accepted in a row: a flood leaves time for those that are there, and for closing what gives way.
IN_A_ROW = 16
# How long nothing is accepted after there was no file descriptor left.
REST_SECONDS = 0.5
LOG_EVERY_SECONDS = 60.0
# Connections at the management port: far more than probes and Prometheus need, so that a flood there is closed in time.
MANAGEMENT_ROOM = 64
# What the log says of the room.
ROOM_OF_API = "(MAX_CONNECTIONS; of the files that may be open, `ulimit -n`, some are kept back for Redis)"
ROOM_OF_MANAGEMENT = "(at the management port)"
NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

NO_ROOM = Problem(503, detail="Too many connections.").bare()
TOO_MANY_OF_ONE = Problem(429, detail="Too many connections from this address.", retry_after=1).bare()


def room_for_connections(settings: Settings) -> int:
    """How many clients may be connected at once: as many as the settings say, or the limit of open files leaves."""
    files = _most_files()
    kept_back = min(RESERVE + settings.consumer_concurrency, files // 2)
    apart = 0 if settings.management_port is None else room_for_management()
    return min(settings.max_connections, files - kept_back - apart)


def room_for_management() -> int:
    """How many may be connected to the management port at once, beside the clients of the API."""
    return min(MANAGEMENT_ROOM, _most_files() // 4)


def _most_files() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else files


class Door:
    """Lets clients in through a listening socket, about `room` of them at once.

    Beyond that, who has been connected for the longest and asks for nothing gives way to a new one; where all are being
    answered, new ones get a 503. So strangers who only hold connections keep nobody out, probes least of all.
    """

    def __init__(
        self,
        listening: socket.socket,
        runner: web.AppRunner,
        room: Callable[[], int],
        *,
        hint: str = ROOM_OF_API,
        most_of_one: int = 0,
    ) -> None:
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        self._hint, self._most_of_one = hint, most_of_one
        self._of_one: Counter[str] = Counter()
        self._listening, self._server = listening, runner.server
        self._find_room, self._room = room, room()
        self._clients = runner.app[CLIENTS]
        self._loop = asyncio.get_running_loop()
        self._inside = 0
        self._entering: set[asyncio.Task[object]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._log_next_at = 0.0

    def open(self) -> None:
        """Begin, or go on after a rest."""
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Let nobody else in. Those who are in stay."""
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(IN_A_ROW):
            try:
                client, address = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in NONE_LEFT:
                    raise
                self._rest(error)
                return
            client.setblocking(False)
            peer = network_of(address[0]) if self._most_of_one else ""
            if peer and self._of_one[peer] >= self._most_of_one:
                clients_limited.add("address_connections")
                self._refuse(client, TOO_MANY_OF_ONE)
            elif self._inside < self._room or self._close_idle():
                self._let_in(client, peer)
            else:
                self._refuse(client, NO_ROOM)
                self._complain("busy, and there is no room for more: new ones are answered 503 " + self._hint)

    def _close_idle(self, count: int = 1, *, spare_fresh: bool = False) -> bool:
        """Close so many of those that ask for nothing, the oldest first; whether there was one."""
        idle = (each for each in self._server.connections if isinstance(each, Connection) and each.idle)
        chosen = list(islice((each for each in idle if not (spare_fresh and each.is_fresh)), count))
        for each in chosen:
            each.force_close()
            self._complain("there is no room for more: idle ones are closed for new ones " + self._hint)
        return bool(chosen)

    def close_those_at_rest(self) -> bool:
        """Close those that ask for nothing, but for who was let in only now; whether there is somebody."""
        resting = [each for each in self._server.connections if isinstance(each, Connection) and each.at_rest]
        for each in resting:
            if not each.is_fresh:
                each.force_close()
        return bool(resting)

    def _let_in(self, client: socket.socket, peer: str) -> None:
        self._inside += 1
        if peer:
            self._of_one[peer] += 1
        task = self._loop.create_task(self._enter(client, peer), name="accept")
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _enter(self, client: socket.socket, peer: str) -> None:
        connection = Connection(self._server, self._clients, on_lost=lambda: self._left(peer))
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client)
        except OSError as error:  # it has hung up already
            log.debug("a client hung up before it was let in: %(error)s", {"error": error})
            client.close()
            self._left(peer)

    def _left(self, peer: str) -> None:
        self._inside -= 1
        if peer:
            self._of_one[peer] -= 1
            if not self._of_one[peer]:
                del self._of_one[peer]

    def _refuse(self, client: socket.socket, answer: bytes) -> None:
        with client, suppress(OSError):
            client.send(answer)
            client.shutdown(socket.SHUT_WR)
            client.recv(65536)  # closing with a request unread would reset the connection, and the answer be lost

    def _rest(self, error: OSError) -> None:
        """Stop accepting for a while, so that Redis gets file descriptors before clients do.

        The limit may have become lower since the start.
        """
        self._loop.remove_reader(self._listening)
        self._resting = self._loop.call_later(REST_SECONDS, self.open)
        self._complain(
            f"no more can be accepted ({error.strerror}): clients wait, and Redis may be "
            "out of reach. Raise the limit of open files (`ulimit -n`), or lower MAX_CONNECTIONS"
        )
        self._room = self._find_room()
        # Who was let in by the last one must not be reset for it: nobody is waiting to take its place.
        self._close_idle(max(IN_A_ROW, self._inside - self._room), spare_fresh=True)

    def _complain(self, consequence: str) -> None:
        """Log how many are connected: one line a minute, however many clients it concerns."""
        if time.monotonic() >= self._log_next_at:
            self._log_next_at = time.monotonic() + LOG_EVERY_SECONDS
            log.warning(
                "%(count)d connections are open and %(consequence)s",
                {"count": self._inside, "consequence": consequence},
            )
