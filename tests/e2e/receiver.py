"""A receiver of webhooks that takes its time: a service that is killed while it waits is killed in mid-handler."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from aiohttp import web

from .driver import Webhook

SECRET = "whsec_" + base64.b64encode(b"the suite's own").decode()


class Receiver:
    """Answers each webhook after `delay` seconds, and keeps its order's id and its own."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.received: list[Webhook] = []
        self._waiting, self._free = asyncio.Event(), asyncio.Event()
        self._free.set()
        self._refuses = False
        app = web.Application()
        app.router.add_post("/", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}/"

    async def start(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Drop all requests under way."""
        self._free.set()
        await self._runner.cleanup()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse everything within the block."""
        self._refuses = True
        try:
            yield
        finally:
            self._refuses = False

    @contextmanager
    def holding(self) -> Iterator[asyncio.Event]:
        """Answer nothing within the block; the event says that somebody waits for an answer."""
        self._waiting.clear()
        self._free.clear()
        try:
            yield self._waiting
        finally:
            self._free.set()

    async def _receive(self, request: web.Request) -> web.Response:
        if self._refuses:
            return web.Response(status=500)
        content = await request.json()
        self.received.append(Webhook(content["data"]["orderId"], request.headers["webhook-id"]))
        self._waiting.set()
        await asyncio.sleep(self.delay)
        await self._free.wait()
        return web.Response(status=204)
