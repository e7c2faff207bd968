"""The shop from outside: its HTTP interface as the contract has it, over whatever carries the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from .asking import Answer, Http, NoAnswer

_MOST_TRIES = 50
_PAUSE = 0.2


class UnexpectedAnswer(Exception):
    """A service answered something that the contract does not have; the message says what."""


class Level(NamedTuple):
    """What there is of one product."""

    available: int
    reserved: int


class OrderState(NamedTuple):
    """An order as the order service shows it. Times are seconds since 1970."""

    status: str
    reason: str | None
    trace_id: str
    updated_at: float


class Notification(NamedTuple):
    """What a customer was told."""

    kind: str
    status: str
    sent_at: float
    event_id: str


class Shop:
    """Questions that may be asked again and again are, until somebody answers; orders are posted once."""

    def __init__(self, http: Http) -> None:
        self.http = http

    async def put_stock(self, levels: Mapping[str, int]) -> None:
        """Set what is available of each product."""
        entries = [{"productId": product, "available": units} for product, units in levels.items()]
        await self._ask("inventory", "PUT", "/stock", json={"levels": entries})

    async def post_order(self, body: Mapping[str, object], *, key: str, traceparent: str) -> Answer:
        """Post an order once. Raises `NoAnswer`."""
        headers = {"Idempotency-Key": key, "traceparent": traceparent}
        return await self.http.request("order", "POST", "/orders", json=body, headers=headers)

    async def order(self, order_id: str) -> OrderState | None:
        """Where an order stands; `None` if there is no such order."""
        content = await self._ask("order", "GET", f"/orders/{order_id}", absent=404)
        if content is None:
            return None
        return OrderState(
            content["status"], content.get("reason"), content["correlationId"], seconds(content["updatedAt"])
        )

    async def level(self, product: str) -> Level:
        """What there is of one product."""
        content = await self._ask("inventory", "GET", f"/stock/{product}")
        return Level(content["available"], content["reserved"])

    async def reservation(self, order_id: str) -> str | None:
        """The status of an order's reservation; `None` if there is none."""
        content = await self._ask("inventory", "GET", f"/reservations/{order_id}", absent=404)
        return None if content is None else str(content["status"])

    async def notifications(self, order_id: str) -> list[Notification]:
        """What the customer was told about an order."""
        content = await self._ask("notification", "GET", f"/notifications?orderId={order_id}")
        return [
            Notification(each["kind"], each["status"], seconds(each["sentAt"]), each["eventId"])
            for each in content["notifications"]
        ]

    async def _ask(self, service: str, method: str, path: str, *, json: Any = None, absent: int = 0) -> Any:
        problem = ""
        for _ in range(_MOST_TRIES):
            try:
                answer = await self.http.request(service, method, path, json=json)
            except NoAnswer as error:
                problem = str(error)
            else:
                if answer.status == absent:
                    return None
                if answer.status == 200:
                    return answer.content
                problem = f"{answer.status} {answer.content}"[:300]
                if answer.status != 503:
                    break
            await asyncio.sleep(_PAUSE)
        raise UnexpectedAnswer(f"{method} {path} of the {service} service: {problem}")


def seconds(time: str) -> float:
    """A time as the contract writes it, in seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()
