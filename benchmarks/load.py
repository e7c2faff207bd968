"""A load generator that costs a fraction of any server it drives: one write and one search for each request.

Requests are made beforehand and sent over connections that stay open; answers must say how long they are.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .works import PRODUCTS

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# How often more requests are allowed where they come at a rate.
_TICK = 0.001


def order_body(number: int) -> bytes:
    """What a customer sends for one order of three lines."""
    items = [{"productId": PRODUCTS[(number + step * 7) % len(PRODUCTS)], "quantity": 1} for step in range(3)]
    return json.dumps({"items": items, "customerId": "VINET"}).encode()


def post(path: str, body: bytes, header: bytes = b"") -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + header + b"\r\n" + body


def order_requests(count: int, header: bytes = b"") -> list[bytes]:
    """As many POSTs of orders."""
    return [post("/orders", order_body(number), header) for number in range(count)]


class Client:
    """Sends the first `allowed` of its requests, as soon as there is a connection for each.

    `latencies` are seconds from when a request was due until its answer was there. `on_answer` is called with a
    request's number and its answer's body. A status that is no success ends it all with a `ConnectionError`.
    """

    def __init__(
        self, requests: Sequence[bytes], on_answer: Callable[[int, bytes], object] = lambda number, body: None
    ) -> None:
        self._requests, self._on_answer = requests, on_answer
        self.sent = self.answered = self.allowed = 0
        self.latencies: list[float] = []
        self._due: Callable[[int], float] = lambda number: time.perf_counter()
        # The one that has rested longest is used next, before its server takes it for forgotten.
        self._idle: deque[_Connection] = deque()
        self._all: list[_Connection] = []
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, port: int, connections: int = 64) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._idle.append(connection)
            self._all.append(connection)

    def close(self) -> None:
        """Close the connections."""
        for each in self._all:
            each.transport.close()

    def allow(self, number: int) -> None:
        """Let this many requests be sent altogether."""
        self.allowed = min(number, len(self._requests))
        while self._idle and self.sent < self.allowed:
            self._idle.popleft().send(self.sent, self._requests[self.sent], self._due(self.sent))
            self.sent += 1

    async def wait(self) -> None:
        """Until all are answered, whoever allows them."""
        await self._finished

    async def as_fast_as_possible(self) -> float:
        """Every connection sends its next request when its last is answered; the seconds that all took."""
        start = time.perf_counter()
        self.allow(len(self._requests))
        await self.wait()
        return time.perf_counter() - start

    async def at_rate(self, rate: float) -> float:
        """So many a second, whether they are answered or not: one that has to wait for a connection is late."""
        start = time.perf_counter()
        self._due = lambda number: start + number / rate
        while not self._finished.done():
            self.allow(int((time.perf_counter() - start) * rate) + 1)
            await asyncio.wait([self._finished], timeout=_TICK)
        self._finished.result()
        return time.perf_counter() - start

    def took(self, connection: _Connection, status: bytes, body: bytes) -> None:
        """An answer has come."""
        if not status.startswith(b"2"):
            self.fail(f"answered {status.decode()}: {body[:200]!r}")
            return
        self.latencies.append(time.perf_counter() - connection.since)
        self.answered += 1
        self._on_answer(connection.number, body)
        self._idle.append(connection)
        if self.answered == len(self._requests) and not self._finished.done():
            self._finished.set_result(None)
        self.allow(self.allowed)

    def lost(self, connection: _Connection) -> None:
        """A connection is closed: one more or less is no matter, an answer is."""
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self.fail("the server closed a connection instead of answering")

    def fail(self, why: str) -> None:
        """End it all."""
        if not self._finished.done():
            self._finished.set_exception(ConnectionError(why))


class _Connection(asyncio.Protocol):
    def __init__(self, client: Client) -> None:
        self._client, self._received = client, b""
        self.number, self.since = 0, 0.0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self)

    def send(self, number: int, request: bytes, since: float) -> None:
        self.number, self.since = number, since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        head = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, head) if head >= 0 else None
        if head >= 0 and length is None:
            self._client.fail("an answer doesn't say how long it is")
        elif length is None or len(data) < head + 4 + int(length[1]):
            self._received = data
        else:
            self._received = b""
            self._client.took(self, data[9:12], data[head + 4 :])
