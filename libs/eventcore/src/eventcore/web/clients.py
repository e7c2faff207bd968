"""What clients may take of a service: time, and memory for what they send and for what they do not read."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from aiohttp import web

from eventcore.settings import Settings
from eventcore.telemetry.measurements import clients_limited

from .problems import Problem

log = logging.getLogger(__name__)

# A body that keeps this pace, in bytes a second, may take as long as it needs.
SLOWEST_BODY = 16 * 1024
# Bodies up to this size are received also when the memory for bodies is used up: honest requests are small.
SMALL_BODY = 16 * 1024
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
        self._receiving = 0

    async def watch(self) -> None:
        """Close what is over its time, or keeps too much unread, once a second until cancelled."""
        while True:
            self.close_the_late()
            self.close_the_unread()
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

    def close_the_unread(self) -> None:
        """Where clients leave too much unread in all, close those that have not read for the longest."""
        waiting = sorted((each for each in self.connected if each.unread_since), key=lambda each: each.unread_since)
        unread = sum(each.unread for each in waiting)
        for client in waiting:
            if unread <= self.settings.http_memory_bytes:
                return
            unread -= client.unread
            clients_limited.add("unread_memory")
            client.drop()

    @contextmanager
    def receiving(self) -> Iterator[BodyReceipt]:
        """Account for a body that is being received; it counts until the end of the `with` block."""
        receipt = BodyReceipt(self)
        try:
            yield receipt
        finally:
            self._receiving -= receipt.counted

    def _take(self, more: int) -> None:
        if self._receiving + more > self.settings.http_memory_bytes:
            clients_limited.add("body_memory")
            raise Problem(503, detail="Too many bodies are being received at once; nothing was done.")
        self._receiving += more


class BodyReceipt:
    """How much of one body has been received, and until when more of it must come."""

    def __init__(self, clients: Clients) -> None:
        self._clients, self.counted = clients, 0
        self._began = asyncio.get_running_loop().time()

    def until(self, received: int) -> float:
        """When to give up, by the loop's clock, after so many bytes."""
        return self._began + self._clients.settings.http_body_seconds + received / SLOWEST_BODY

    def hold(self, received: int) -> None:
        """Note how much is held now. Raises `Problem` 503 where all bodies together take too much."""
        if received > SMALL_BODY and received > self.counted:
            self._clients._take(received - self.counted)
            self.counted = received


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
