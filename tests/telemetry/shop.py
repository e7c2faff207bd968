"""The shop as processes that export to a collector, with a mail server and a receiver of webhooks to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, Envelope, Session

from eventcore.testing import Server, available_kinds, until
from libs.eventcore.tests.collector import Received
from tests.e2e.receiver import SECRET
from tests.e2e.replica import Replica


class Mailbox:
    """Takes mail, and keeps it."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return "250 OK"


@dataclass
class Hooks:
    """Receives webhooks: keeps their headers, and answers with the statuses of `answers`, then 204, while `open`."""

    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        await self.open.wait()
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@dataclass
class Shop:
    """The running services by name, and what they talk to."""

    directory: Path
    server: Server
    collector: Received
    session: aiohttp.ClientSession
    mailbox: Mailbox
    hooks: Hooks
    outside: dict[str, str]
    telemetry: dict[str, str]
    replicas: dict[str, Replica] = field(default_factory=dict)

    async def start(self, *names: str, **settings: str) -> None:
        """Start replicas, called by their service and anything after it, and wait until they are ready."""
        for name in names:
            service = name.partition("-")[0]
            told = {"REDIS_URL": self.server.url, **self.telemetry, **settings}
            if service == "notification":
                told |= self.outside
            self.replicas[name] = Replica(service, name, "today", told, self.directory)
        await asyncio.gather(*(self.replicas[name].ready(self.session) for name in names))

    async def end(self, *names: str) -> None:
        """End replicas in order (all, by default); each must have flushed what it had to say."""
        exits = await asyncio.gather(*(self.replicas.pop(name).retire() for name in names or tuple(self.replicas)))
        assert all(each.clean for each in exits), exits

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.replicas.pop(name).child.kill()

    async def ask(self, name: str, method: str, path: str, json: Any = None, **headers: str) -> Any:
        """The content of an answer that is no error; `metrics` as text."""
        async with self.session.request(
            method, self.replicas[name].url + path, json=json, headers=headers, raise_for_status=True
        ) as answer:
            return await (answer.json() if "json" in answer.content_type else answer.text())

    async def place(self, product_id: str = "11", **headers: str) -> str:
        """Order one of something; the order's id."""
        body = {"items": [{"productId": product_id, "quantity": 1}], "customerId": "VINET", "email": "anna@example.com"}
        placed: dict[str, str] = await self.ask("order", "POST", "/orders", body, **headers)
        return placed["id"]

    async def until_told(self, order_id: str, *, by: int, asking: str = "notification") -> None:
        """Wait until the order is decided and its customer was told by so many channels."""

        async def told() -> bool:
            order = await self.ask("order", "GET", f"/orders/{order_id}")
            found = await self.ask(asking, "GET", f"/notifications?orderId={order_id}")
            return order["status"] != "processing" and len(found["notifications"]) == by

        await until(told, what=f"order {order_id} to be decided and told", timeout=30)


@asynccontextmanager
async def shop(directory: Path, collector: Received, *, channels: bool, **telemetry: str) -> AsyncIterator[Shop]:
    """A shop without services yet; what is left of them in the end is killed."""
    mailbox, hooks = Mailbox(), Hooks()
    hooks.open.set()
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(partial(SMTP, mailbox, loop=loop, hostname="localhost"), "127.0.0.1", 0)
    app = web.Application()
    app.router.add_post("/hooks/{secret}", hooks.take)
    with Server(kind=available_kinds()[0], directory=directory / "redis") as server:
        async with TestServer(app) as receiver, aiohttp.ClientSession() as session:
            outside = {
                "SMTP_URL": f"smtp://127.0.0.1:{smtp.sockets[0].getsockname()[1]}?starttls=never",
                "WEBHOOK_URL": str(receiver.make_url("/hooks/s3cret")),
                "WEBHOOK_SECRET": SECRET,
            }
            variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **telemetry}
            running = Shop(
                directory, server, collector, session, mailbox, hooks, outside if channels else {}, variables
            )
            try:
                yield running
            finally:
                for name in list(running.replicas):
                    running.kill(name)
                hooks.open.set()
                smtp.close()
