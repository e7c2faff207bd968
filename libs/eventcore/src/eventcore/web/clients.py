"""Limits of clients: time for a request, and memory for bodies and unread answers."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from aiohttp import web

from eventcore.settings import Settings
from eventcore.telemetry.measurements import clients_limited

from .problems import Problem

# A body that keeps this pace, in bytes a second, may take as long as it needs.
SLOWEST_BODY = 16 * 1024
# Where memory for bodies is used up, one of this size takes the place of the oldest: honest requests are small.
SMALL_BODY = 16 * 1024
# What a body counts beside its bytes: the request that waits for it takes memory, too.
BESIDE_BODY = 8 * 1024
# Where the oldest has been on its way for longer than this, larger ones take its place, too.
BRISK_SECONDS = 1.0
LOOK_EVERY = timedelta(seconds=1)


class Client(Protocol):
    """A connection, as far as its limits go."""

    unread_since: float
    """Since when the client has not read what was sent to it; 0 while it reads."""

    @property
    def begun_at(self) -> float:
        """When the first bytes of a request came whose headers are not complete; 0 while there is none."""

    def refuse(self, problem: Problem) -> None:
        """Answer, and close."""

    def drop(self) -> None:
        """Close at once, whatever is still unread."""

    @property
    def unread(self) -> int:
        """How many bytes the client has not taken yet."""


class Clients:
    """All connections of a service, and the memory that their bodies and unread answers take."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connected: set[Client] = set()
        # Who does not read, those that began first to the front.
        self.unread: dict[Client, None] = {}
        # What a large body becomes takes many times its size until the request is answered: one after the other.
        self.large_bodies = asyncio.Semaphore(1)
        # Bodies that are being received, the oldest first; `_held` counts those that wait for their turn, too.
        self._arriving: dict[BodyReceipt, None] = {}
        self._held = 0

    async def watch(self) -> None:
        """Close what is over its time, once a second until cancelled."""
        while True:
            self.close_the_late()
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    def close_the_late(self) -> None:
        """Close connections whose request does not come to its headers' end, or whose client does not read."""
        now = time.monotonic()
        for client in list(self.connected):
            if client.begun_at and now - client.begun_at > self.settings.http_header_seconds:
                clients_limited.add("header_time")
                client.refuse(Problem(408, detail="The request's headers did not arrive in time."))
            elif client.unread_since and now - client.unread_since > self.settings.http_unread_seconds:
                clients_limited.add("unread_time")
                client.drop()

    def note_unread(self, client: Client) -> None:
        """Note a client that does not read; where too much is unread in all, close those that have waited longest."""
        self.unread[client] = None
        unread = sum(each.unread for each in self.unread)
        while unread > self.settings.http_memory_bytes:
            first = next(iter(self.unread))
            unread -= first.unread
            del self.unread[first]
            clients_limited.add("unread_memory")
            first.drop()

    @contextmanager
    def receiving(self) -> Iterator[BodyReceipt]:
        """Account for a body that is being received; it counts until the end of the `with` block."""
        receipt = BodyReceipt(self)
        try:
            self.hold(receipt, BESIDE_BODY)
            self._arriving[receipt] = None
            yield receipt
        finally:
            self.have_arrived(receipt)
            self._held -= receipt.held
            receipt.body = bytearray()  # an error that ended it knows the receipt for longer

    def have_arrived(self, receipt: BodyReceipt) -> None:
        """No other body takes its place any more."""
        self._arriving.pop(receipt, None)

    def hold(self, receipt: BodyReceipt, more: int) -> None:
        """Count more of a body. Raises `Problem` 503 where all take too much and none gives way."""
        while self._held + more > self.settings.http_memory_bytes:
            oldest = next(iter(self._arriving), receipt)
            clients_limited.add("body_memory")
            if oldest is receipt or not (receipt.held + more <= BESIDE_BODY + SMALL_BODY or oldest.age > BRISK_SECONDS):
                raise no_memory()
            self.have_arrived(oldest)
            self._held -= oldest.give_up()
        self._held += more
        receipt.held += more


class BodyReceipt:
    """What has come of one body, and until when more of it must come."""

    def __init__(self, clients: Clients) -> None:
        self._clients, self.held, self.given_up = clients, 0, False
        self.body = bytearray()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.timer = asyncio.timeout_at(self._due())

    @property
    def age(self) -> float:
        """For how many seconds it has been on its way."""
        return self._loop.time() - self._began

    def take(self, chunk: bytes) -> None:
        """Hold more of it; then there is time for more. Raises `Problem` 503 where bodies take too much."""
        self._clients.hold(self, len(chunk))
        self.body += chunk
        self.timer.reschedule(self._due())

    def give_up(self) -> int:
        """Let go of it, and have the time for it end now; how much it held."""
        self.given_up, held, self.held, self.body = True, self.held, 0, bytearray()
        if not self.timer.expired():
            self.timer.reschedule(self._loop.time())
        return held

    def _due(self) -> float:
        return self._began + self._clients.settings.http_body_seconds + self.held / SLOWEST_BODY


def no_memory() -> Problem:
    """What is answered where bodies take too much memory."""
    return Problem(503, detail="Too many bodies are being received at once; nothing was done.")


def network_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


CLIENTS: web.AppKey[Clients] = web.AppKey("CLIENTS", Clients)
