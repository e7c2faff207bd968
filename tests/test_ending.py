"""A service ends in time although nobody whom it depends on answers any more."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from eventcore.testing import Server, available_kinds
from eventcore.web.ending import LEAVING_SECONDS
from tests.e2e.replica import Replica

DRAIN_SECONDS = 2
# Whoever runs this may have much else to do.
MARGIN_SECONDS = 3.0


@asynccontextmanager
async def silence() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A server that accepts and never answers: its port, and whether somebody has come."""
    came, loop = asyncio.Event(), asyncio.get_running_loop()
    with ExitStack() as open_sockets:
        listening = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.setblocking(False)

        async def accept() -> None:
            while True:
                open_sockets.enter_context((await loop.sock_accept(listening))[0])
                came.set()

        accepting = asyncio.create_task(accept())
        yield listening.getsockname()[1], came
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)


def reserved(number: int) -> str:
    metadata = {"eventId": f"event-{number}", "timestamp": "2026-11-23T10:00:00.000Z"}
    items = [{"productId": "11", "quantity": 1}]
    data = {"orderId": f"order-{number}", "items": items, "email": "anna@example.com"}
    return json.dumps({"type": "inventory.reserved", "data": data, "metadata": metadata})


async def test_with_redis_mail_webhook_and_collector_silent_it_ends_within_its_budget(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(kind=available_kinds()[0], directory=tmp_path / "redis"))
        (hook, posted), (mail, mailed), (collector, _) = [await stack.enter_async_context(silence()) for _ in range(3)]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        redis = await stack.enter_async_context(Redis.from_url(server.url))
        settings = {
            "REDIS_URL": server.url,
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "WEBHOOK_URL": f"http://127.0.0.1:{hook}",
            "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "SMTP_URL": f"smtp://127.0.0.1:{mail}?starttls=never",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
        }
        replica = Replica("notification", "notification-1", "today", settings, tmp_path)
        await replica.ready(session)
        for number in range(20):
            await redis.xadd("inventory_stream", {"event": reserved(number)})
        async with asyncio.timeout(20):
            await asyncio.gather(posted.wait(), mailed.wait())
        server.pause()
        request = asyncio.create_task(replica.ask(session, "/notifications?orderId=order-1"))
        ended = await replica.retire()
        server.resume()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    assert ended.status == 0, replica.log
    assert ended.seconds < DRAIN_SECONDS + LEAVING_SECONDS + MARGIN_SECONDS, replica.log
