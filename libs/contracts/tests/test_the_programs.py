"""The three programs as processes on one server: one order's way through all of them, and their orderly end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from eventcore.testing import Server, until
from libs.contracts.tests.calling import PATIENCE
from libs.contracts.tests.programs import Shop, running_shop, started
from tests.e2e.asking import SERVICES

# Starting three interpreters takes its time on a busy machine.
pytestmark = pytest.mark.timeout(4 * PATIENCE)

PREFIX = "{shop}:"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest_asyncio.fixture
async def shop(server: Server, tmp_path: Path) -> AsyncIterator[Shop]:
    """All programs on one server, ready, with a key prefix as for a Cluster slot."""
    async with running_shop(server.url, tmp_path, KEY_PREFIX=PREFIX) as shop:
        yield shop


async def test_an_order_goes_through_all_programs_and_they_end_in_order(shop: Shop, server: Server) -> None:
    assert (await shop.ask("inventory", "PUT", "/stock/11", json={"available": 39}))[0] == 200
    order = {"items": [{"productId": "11", "quantity": 12}], "customerId": "VINET", "email": "a@b.c"}
    status, accepted = await shop.ask("order", "POST", "/orders", json=order)
    assert status == 202

    async def found() -> Any:
        _, order = await shop.ask("order", "GET", f"/orders/{accepted['id']}")
        _, told = await shop.ask("notification", "GET", f"/notifications?orderId={accepted['id']}")
        return order if order["status"] == "confirmed" and told["notifications"] else None

    confirmed: Any = await until(found, timeout=PATIENCE)
    assert (await shop.ask("inventory", "GET", "/stock/11"))[1] == {"productId": "11", "available": 27, "reserved": 12}

    client: Any = Redis.from_url(server.url)  # its own hints are unions that no caller can use
    async with client as redis:
        keys = [key.decode() async for key in redis.scan_iter()]
        assert all(key.startswith(PREFIX) for key in keys)
        [(_, fields)] = await redis.xrange(f"{PREFIX}inventory_stream")
        assert json.loads(fields[b"event"])["metadata"]["correlationId"] == confirmed["correlationId"]

        kept = [await redis.pttl(f"{PREFIX}{kind}:{accepted['id']}") for kind in ("order", "reservation")]
        assert 0 < kept[0] < kept[1] - 7 * 86_400_000, "while an order may be cancelled, its stock can be given back"

        exits = await asyncio.gather(*(replica.retire() for replica in shop.replicas.values()))
        assert all(each.clean for each in exits), exits
        assert [each.log for each in shop.replicas.values() if '"level": "ERROR"' in each.log] == []
        for stream in ("orders_stream", "inventory_stream"):
            groups = await redis.xinfo_groups(f"{PREFIX}{stream}")
            assert {(group["consumers"], group["pending"], group["lag"]) for group in groups} == {(0, 0, 0)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_setting_ends_the_program_with_one_line_that_names_it(service: str) -> None:
    with started(f"{service}_service", PORT="x") as process:
        output, errors = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode != 0
    [line] = errors.decode().splitlines()
    assert line.startswith("PORT: ")
    assert output == b""
