"""A receiver of webhooks that can be slow for as long as a test wants."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

HOST = "127.0.0.1"
SECRET = "whsec_Y3Jhc2htYXRyaXg="


class Receiver:
    """Notes the `webhook-id`s that came for each order; answers at once, unless told to hold."""

    def __init__(self) -> None:
        self.received: defaultdict[str, list[str]] = defaultdict(list)
        self.url = ""
        self._waiting = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._refuses = False

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

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Receiver]:
        """Listen on a free port within the block."""
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, 0)
            await site.start()
            self.url = f"http://{HOST}:{runner.addresses[0][1]}/"
            yield self
        finally:
            self._free.set()
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        if self._refuses:
            return web.Response(status=500)
        order_id = (await request.json())["data"]["orderId"]
        self.received[order_id].append(request.headers["webhook-id"])
        self._waiting.set()
        await self._free.wait()
        return web.Response(status=204)
