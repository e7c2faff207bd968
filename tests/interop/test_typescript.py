"""Programs in TypeScript, written the article's way, on either side of our services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eventcore.testing import Server, until
from libs.contracts.tests.calling import PATIENCE
from libs.contracts.tests.programs import Shop, running_shop

from . import node

pytestmark = [*node.MARKS, pytest.mark.usefixtures("programs")]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@asynccontextmanager
async def typescript(program: str, server: Server, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A compiled program, which ends by itself or at the end of the block, in order."""
    process = await asyncio.create_subprocess_exec(
        "node", f"build/{program}.js", *arguments,
        cwd=node.HERE, env={"REDIS_URL": server.url, "PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    finally:
        if process.returncode is None:
            process.kill()


async def said(process: asyncio.subprocess.Process) -> Any:
    """The next line that a program writes, as JSON."""
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))


async def test_our_inventory_serves_an_order_from_typescript_and_typescript_hears_of_it(
    server: Server, tmp_path: Path
) -> None:
    async with running_shop(server.url, tmp_path, ["inventory", "notification"]) as shop:
        await shop.ask("inventory", "PUT", "/stock/11", json={"available": 39})
        async with typescript("notification", server) as notification:
            async with typescript("order", server, "order_1", "11", "12") as order:
                published = await said(order)
                await order.wait()
            heard = await said(notification)

        assert (heard["type"], heard["data"]) == (
            "inventory.reserved",
            {"orderId": "order_1", "items": [{"productId": "11", "quantity": 12}]},
        )
        assert heard["metadata"]["causationId"] == published["metadata"]["eventId"]
        assert heard["metadata"]["version"] == "1.0"
        status, reservation = await shop.ask("inventory", "GET", "/reservations/order_1")
        assert (status, reservation["status"]) == (200, "reserved")
        await until(lambda: told(shop, "order_1"), timeout=PATIENCE)


async def test_typescript_serves_an_order_of_ours_which_is_confirmed(server: Server, tmp_path: Path) -> None:
    async with (
        running_shop(server.url, tmp_path, ["order", "notification"]) as shop,
        typescript("inventory", server),
    ):
        order = {"items": [{"productId": "11", "quantity": 12}], "customerId": "VINET"}
        _, accepted = await shop.ask("order", "POST", "/orders", json=order)
        await until(lambda: confirmed(shop, accepted["id"]), timeout=PATIENCE)
        [notification] = await until(lambda: told(shop, accepted["id"]), timeout=PATIENCE)
        assert notification["kind"] == "order_confirmed"


async def confirmed(shop: Shop, order_id: str) -> bool:
    _, order = await shop.ask("order", "GET", f"/orders/{order_id}")
    return bool(order["status"] == "confirmed")


async def told(shop: Shop, order_id: str) -> list[Any]:
    _, answer = await shop.ask("notification", "GET", f"/notifications?orderId={order_id}")
    notifications: list[Any] = answer["notifications"]
    return notifications
