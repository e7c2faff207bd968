"""Any body is answered with an honest status: what is not understood with a problem, never with an error of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from inventory_service.app import create_app as inventory
from inventory_service.settings import InventorySettings
from libs.contracts.tests.json_values import bodies
from order_service.app import create_app as order
from order_service.settings import OrderSettings

NOWHERE = SecretStr("redis://127.0.0.1:1/0")
LINE = {"productId": "11", "quantity": 12}
Create = Callable[[], Application]
Ask = Callable[[bytes], Awaitable[tuple[int, str, Any]]]
CASES: dict[str, tuple[Create, str, str, Any]] = {
    "an order": (
        lambda: order(OrderSettings(redis_url=NOWHERE)),
        "POST",
        "/orders",
        {"items": [LINE, LINE], "customerId": "VINET", "email": "a@b.c"},
    ),
    "a level": (lambda: inventory(InventorySettings(redis_url=NOWHERE)), "PUT", "/stock/11", {"available": 39}),
    "many levels": (
        lambda: inventory(InventorySettings(redis_url=NOWHERE)),
        "PUT",
        "/stock",
        {"levels": [{"productId": "11", "available": 39}, {"productId": "12", "available": 0}]},
    ),
}


@pytest_asyncio.fixture(params=CASES.values(), ids=CASES)
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Ask]]:
    """A good body, and how to ask with another one."""
    create, method, path, good = request.param
    async with TestClient(TestServer(create())) as client:

        async def ask(body: bytes) -> tuple[int, str, Any]:
            async with client.request(method, path, data=body, headers={"Content-Type": "application/json"}) as answer:
                return answer.status, answer.content_type, await answer.json(content_type=None)

        yield good, ask


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
async def test_any_body_is_answered_honestly(asked: tuple[Any, Ask], data: st.DataObject) -> None:
    good, ask = asked
    status, content_type, problem = await ask(data.draw(bodies(good)))
    # Without a server what is understood gets as far as to the store.
    assert status in (400, 422, 503)
    assert (content_type, problem["status"]) == ("application/problem+json", status)
    assert status != 422 or problem["errors"]


async def test_a_good_body_gets_as_far_as_to_the_store(asked: tuple[Any, Ask]) -> None:
    good, ask = asked
    assert (await ask(json.dumps(good).encode()))[0] == 503
