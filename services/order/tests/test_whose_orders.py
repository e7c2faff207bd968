"""With `AUTH_BIND_CUSTOMER` a token is good for the orders of its subject alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from eventcore import Settings, Store
from libs.contracts.tests.calling import Caller
from libs.eventcore.tests.tokens import AUDIENCE, ISSUER, Provider, bearer
from order_service.app import create_app
from order_service.settings import OrderSettings

ORDER = {"items": [{"productId": "11", "quantity": 1}]}
SCOPES = ("orders:read", "orders:write")


class Customers:
    """Customers who have tokens for the same service."""

    def __init__(self, call: Caller, provider: Provider) -> None:
        self._call, self._provider = call, provider

    async def ask(self, name: str, method: str, path: str, expected: int = 200, **request: Any) -> Any:
        """What the service answers this customer."""
        headers = {**bearer(self._provider.token(*SCOPES, sub=name)), **request.pop("headers", {})}
        return await self._call(method, path, expected, headers=headers, **request)

    async def pages(self, name: str, path: str) -> list[str]:
        """The ids of all orders that this customer is shown."""
        found: list[str] = []
        cursor = ""
        while True:
            page = await self.ask(name, "GET", f"{path}{cursor}")
            found += [order["id"] for order in page["orders"]]
            if page["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['nextCursor']}"


@pytest_asyncio.fixture
async def customers(settings: Settings, store: Store, tmp_path: Path) -> AsyncIterator[Customers]:
    provider = Provider()
    about = {
        "auth_jwks": str(provider.write(tmp_path / "jwks.json")),
        "auth_issuer": ISSUER,
        "auth_audience": AUDIENCE,
        "auth_bind_customer": True,
    }
    async with TestClient(TestServer(create_app(OrderSettings(**{**dict(settings), **about})))) as client:
        yield Customers(await Caller.of(client), provider)


async def test_an_order_is_its_tokens_subjects(customers: Customers) -> None:
    order_id = (await customers.ask("anna", "POST", "/orders", 202, json=ORDER))["id"]
    assert (await customers.ask("anna", "GET", f"/orders/{order_id}"))["customerId"] == "anna"
    named = await customers.ask("anna", "POST", "/orders", 202, json={**ORDER, "customerId": "anna"})
    assert named["id"] != order_id


async def test_nobody_orders_for_another(customers: Customers) -> None:
    problem = await customers.ask("anna", "POST", "/orders", 403, json={**ORDER, "customerId": "bob"})
    assert "customerId" in problem["detail"]
    assert await customers.pages("bob", "/orders?limit=1") == []


async def test_nobody_sees_or_cancels_what_is_anothers(customers: Customers) -> None:
    order_id = (await customers.ask("anna", "POST", "/orders", 202, json=ORDER))["id"]
    await customers.ask("bob", "GET", f"/orders/{order_id}", 404)
    await customers.ask("bob", "POST", f"/orders/{order_id}/cancel", 404)
    assert (await customers.ask("anna", "GET", f"/orders/{order_id}"))["status"] == "processing"
    await customers.ask("anna", "POST", f"/orders/{order_id}/cancel", 202)


async def test_each_is_listed_their_own_orders(customers: Customers) -> None:
    placed: dict[str, list[str]] = {"anna": [], "bob": []}
    for name in ("anna", "bob", "bob", "anna", "anna"):
        placed[name].append((await customers.ask(name, "POST", "/orders", 202, json=ORDER))["id"])
    for name, ids in placed.items():
        assert await customers.pages(name, "/orders?limit=2") == sorted(ids, reverse=True)


async def test_what_two_customers_call_alike_is_not_the_same_request(customers: Customers) -> None:
    key = {"Idempotency-Key": "1"}
    first, again, other = [
        (await customers.ask(name, "POST", "/orders", 202, json=ORDER, headers=key))["id"]
        for name in ("anna", "anna", "bob")
    ]
    assert first == again != other
