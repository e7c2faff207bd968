"""The whole shop on a server of its own, with a proxy in between: two processes of each service, and who orders."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from eventcore.testing.server import Server, ServerKind
from tests.e2e.asking import SERVICES
from tests.e2e.receiver import SECRET, Receiver

from .pods import Pods
from .proxy import Proxy

# Quick deaths, quick goodbyes, and few attempts where a dead letter is planned.
_SETTINGS = {
    "HEARTBEAT_SECONDS": "0.2",
    "DEAD_AFTER_SECONDS": "1",
    "DRAIN_SECONDS": "0.3",
    "RETRY_ATTEMPTS": "2",
    "ASIDE_AFTER_SECONDS": "0.3",
    "WEBHOOK_SECRET": SECRET,
}
_ANSWER_WITHIN = 15.0
EACH_ORDERS = 2


@dataclass
class Basket:
    """Orders for one product, each for two of it, and what there was of it."""

    product: str
    stock: int
    accepted: list[str] = field(default_factory=list)
    unanswered: int = 0
    """Orders that may be there or not: nobody has told the customer."""


@dataclass(frozen=True)
class Reply:
    """What a customer was told: nothing, where `status` is `None`."""

    status: int | None
    order_id: str | None = None


class Shop:
    """The programs, the server and the proxy in one hand."""

    def __init__(
        self, server: Server, proxy: Proxy, receiver: Receiver, pods: Pods, http: aiohttp.ClientSession
    ) -> None:
        self.server, self.proxy, self.receiver, self.pods, self._http = server, proxy, receiver, pods, http
        self.redis: Any = Redis.from_url(server.url)  # past the proxy
        self.quiet = True
        """Whether all that was begun has come to its end."""
        self._numbers = itertools.count(1)

    # What customers do

    async def basket(self, orders: int = 3) -> Basket:
        """A product of which there is enough for all orders but one."""
        product = f"p{next(self._numbers)}"
        basket = Basket(product, stock=EACH_ORDERS * max(1, orders - 1))
        deadline = time.monotonic() + _ANSWER_WITHIN
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, IndexError):
                url = f"{self.pods.living('inventory')[-1].url}/stock/{product}"
                async with self._http.put(url, json={"available": basket.stock}) as response:
                    if response.status == 200:
                        return basket
            assert time.monotonic() < deadline, "nobody takes the stock"
            await asyncio.sleep(0.02)

    async def order(self, basket: Basket, orders: int = 3) -> None:
        """Place orders as a careful customer does: with a key, again and again until there is an answer."""
        await asyncio.gather(*(self.insist(basket, f"{basket.product}-{number}") for number in range(orders)))

    async def insist(self, basket: Basket, key: str) -> None:
        """Place one order, whatever it takes."""
        deadline = time.monotonic() + _ANSWER_WITHIN
        for attempt in itertools.count():
            reply = await self.ask(basket, key, attempt)
            if reply.order_id is not None:
                basket.accepted.append(reply.order_id)
                return
            assert time.monotonic() < deadline, f"no answer to an order, the last was {reply}"
            await asyncio.sleep(0.05)

    async def ask(self, basket: Basket, key: str | None, attempt: int = 0) -> Reply:
        """Place one order, once; another attempt goes to another process."""
        pods = self.pods.living("order")
        body = {"items": [{"productId": basket.product, "quantity": EACH_ORDERS}], "email": "a@b.c"}
        headers = {"Idempotency-Key": key} if key else {}
        try:
            url = f"{pods[attempt % len(pods)].url}/orders"
            async with self._http.post(url, json=body, headers=headers) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                if response.status == 202:
                    return Reply(202, answer["id"])
                assert response.status == 503, f"an order was answered {response.status}: {answer}"
                assert "Retry-After" in response.headers
                return Reply(503)
        except (aiohttp.ClientError, TimeoutError):
            return Reply(None)

    # What stands in Redis

    async def events(self, stream: str) -> Counter[tuple[str, str]]:
        """How often each type of event was published for each order."""
        found: Counter[tuple[str, str]] = Counter()
        for _, fields in await self.redis.xrange(stream):
            event = json.loads(fields[b"event"])
            found[event["type"], event["data"]["orderId"]] += 1
        return found

    async def hash(self, key: str) -> dict[str, str]:
        """All fields of a hash."""
        found = await self.redis.hgetall(key)
        return {name.decode(): value.decode() for name, value in found.items()}

    async def created_for(self, product: str) -> list[str]:
        """The orders whose `order.created` names the product."""
        events = [json.loads(fields[b"event"]) for _, fields in await self.redis.xrange("orders_stream")]
        return [each["data"]["orderId"] for each in events if each["data"]["items"][0]["productId"] == product]


@asynccontextmanager
async def open_shop(kind: ServerKind, directory: Path) -> AsyncIterator[Shop]:
    """Two processes of each service on a server that acknowledges nothing before it is on disk."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(kind=kind, append_only=True, options={"appendfsync": "always"}))
        proxy = await stack.enter_async_context(Proxy(server.port))
        receiver = await Receiver().start()
        stack.push_async_callback(receiver.stop)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=5)
            )
        )
        pods = Pods(http, directory, {**_SETTINGS, "REDIS_URL": proxy.url, "WEBHOOK_URL": receiver.url})
        stack.callback(pods.kill_all)
        for service in SERVICES * 2:
            pods.start(service)
        await pods.ready()
        shop = Shop(server, proxy, receiver, pods, http)
        stack.push_async_callback(shop.redis.aclose)
        yield shop
