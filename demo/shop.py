"""The shop from outside: its HTTP interface, as the contract has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import aiohttp

_PAGE = 1000
_MOST_LEVELS = 10_000  # in one `PUT /stock`


class UnexpectedAnswer(Exception):
    """A service answered something that the contract does not have; the message says what."""


class Level(NamedTuple):
    """What there is of one product."""

    available: int
    reserved: int


class OrderState(NamedTuple):
    """An order as the order service shows it."""

    order_id: str
    status: str
    reason: str | None
    trace_id: str
    updated_at: float  # seconds since 1970


class Notification(NamedTuple):
    """What somebody was told about an order."""

    order_id: str
    kind: str
    channel: str
    recipient: str | None
    status: str
    sent_at: float  # seconds since 1970
    event_id: str


class Reply(NamedTuple):
    """What `POST /orders` answered. `retry_after` is in seconds."""

    status: int
    content: Mapping[str, Any]
    trace_id: str
    retry_after: float


@dataclass(frozen=True)
class Shop:
    """The three services by their addresses."""

    session: aiohttp.ClientSession
    orders_url: str
    inventory_url: str
    notifications_url: str

    async def put_stock(self, levels: Mapping[str, int]) -> int:
        """Set what is available of each product; how many requests it took."""
        entries = [{"productId": product, "available": units} for product, units in levels.items()]
        chunks = [entries[at : at + _MOST_LEVELS] for at in range(0, len(entries), _MOST_LEVELS)]
        for chunk in chunks:
            async with self.session.put(f"{self.inventory_url}/stock", json={"levels": chunk}) as response:
                await _expect(response, 200)
        return len(chunks)

    async def post(self, body: Mapping[str, object], key: str) -> Reply:
        """Post an order; `key` makes it harmless to post it again."""
        async with self.session.post(
            f"{self.orders_url}/orders", json=body, headers={"Idempotency-Key": key}
        ) as response:
            content = await response.json(content_type=None)
            return Reply(
                response.status,
                content if isinstance(content, dict) else {},
                response.headers.get("X-Correlation-ID", ""),
                float(response.headers.get("Retry-After", "0.1")),
            )

    async def order_states(self) -> AsyncIterator[OrderState]:
        """All orders, newest first."""
        async for order in self._pages(f"{self.orders_url}/orders", "orders"):
            yield OrderState(
                order["id"], order["status"], order.get("reason"), order["correlationId"], _seconds(order["updatedAt"])
            )

    async def stock(self) -> dict[str, Level]:
        """What there is of each product."""
        return {
            level["productId"]: Level(level["available"], level["reserved"])
            async for level in self._pages(f"{self.inventory_url}/stock", "stock")
        }

    async def reservation(self, order_id: str) -> str:
        """The status of an order's reservation."""
        return str((await self._get(f"{self.inventory_url}/reservations/{order_id}"))["status"])

    async def notifications(self, order_id: str) -> list[Notification]:
        """What was sent about an order."""
        content = await self._get(f"{self.notifications_url}/notifications", orderId=order_id)
        return [
            Notification(
                each["orderId"],
                each["kind"],
                each["channel"],
                each["recipient"],
                each["status"],
                _seconds(each["sentAt"]),
                each["eventId"],
            )
            for each in content["notifications"]
        ]

    async def _get(self, url: str, **query: str) -> dict[str, Any]:
        async with self.session.get(url, params=query) as response:
            return await _expect(response, 200)

    async def _pages(self, url: str, name: str) -> AsyncIterator[dict[str, Any]]:
        query = {"limit": str(_PAGE)}
        while True:
            content = await self._get(url, **query)
            for each in content[name]:
                yield each
            if content["nextCursor"] is None:
                return
            query["cursor"] = content["nextCursor"]


async def _expect(response: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    if response.status != status:
        what = (await response.text())[:300]
        raise UnexpectedAnswer(f"{response.method} {response.url} answered {response.status}: {what}")
    content: dict[str, Any] = await response.json()
    return content


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
