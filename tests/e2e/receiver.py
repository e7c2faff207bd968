"""A receiver of webhooks that takes its time: whoever is killed while it waits is killed in mid-handler."""

from __future__ import annotations

import asyncio
import base64
from typing import Self

from aiohttp import web

from .driver import Webhook

SECRET = "whsec_" + base64.b64encode(b"the suite's own").decode()


class Receiver:
    """Answers each webhook after `delay` seconds, and keeps its order's id and its own."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.received: list[Webhook] = []
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
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        content = await request.json()
        self.received.append(Webhook(content["data"]["orderId"], request.headers["webhook-id"]))
        await asyncio.sleep(self.delay)
        return web.Response(status=204)
