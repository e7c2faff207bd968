"""What is made from the events is up to date, and what it says of the services is what they do."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from eventcore.testing import Server, until
from libs.contracts.tests.calling import PATIENCE
from libs.contracts.tests.programs import Shop, running_shop
from scripts import contracts as script

DOCUMENTS = {path.stem: yaml.safe_load(path.read_text()) for path in script.DOCUMENTS.glob("*.yaml")}
ITEM = {"productId": "11", "quantity": 2}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services read settings from it."""
    for name in ("REDIS_URL", "SMTP_URL", "WEBHOOK_URL", "PORT"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_made_from_the_events_is_up_to_date() -> None:
    stale = [path for path, text in script.generated().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run make contracts"


def test_there_is_a_document_for_each_service_and_one_for_all() -> None:
    assert DOCUMENTS.keys() == {"order-service", "inventory-service", "notification-service", "shop"}
    operations = [set(DOCUMENTS[name]["operations"]) for name in DOCUMENTS if name != "shop"]
    assert set.union(*operations) == set(DOCUMENTS["shop"]["operations"])


def documented(document: dict[str, Any], action: str) -> dict[str, set[str]]:
    """The types of events that each service sends or receives."""
    found = defaultdict[str, set[str]](set)
    for operation in document["operations"].values():
        if operation["action"] == action:
            types = {message["$ref"].rpartition("/")[2] for message in operation["messages"]}
            found[operation["tags"][0]["name"]] |= types
    return dict(found)


@pytest.mark.timeout(4 * PATIENCE)
async def test_what_services_publish_is_what_the_document_says(tmp_path: Path) -> None:
    with Server() as server:
        async with running_shop(server.url, tmp_path) as shop:
            await shop.ask("inventory", "PUT", "/stock/11", json={"available": 3})
            [first, _] = [await order(shop), await order(shop)]
            await until(lambda: settled(shop, first), timeout=PATIENCE)
            await shop.ask("order", "POST", f"/orders/{first}/cancel")
            client: Any = Redis.from_url(server.url)  # its own hints are unions that no caller can use
            async with client as redis:
                expected = documented(DOCUMENTS["shop"], "send")
                await until(lambda: published(redis, of=expected), timeout=PATIENCE)
                assert await found(redis) == expected


async def order(shop: Shop) -> str:
    _, accepted = await shop.ask("order", "POST", "/orders", json={"items": [ITEM]})
    order_id: str = accepted["id"]
    return order_id


async def settled(shop: Shop, order_id: str) -> bool:
    _, order = await shop.ask("order", "GET", f"/orders/{order_id}")
    return bool(order["status"] == "confirmed")


async def found(redis: Any) -> dict[str, set[str]]:
    """The types of events that each service has published."""
    types = defaultdict[str, set[str]](set)
    for stream in DOCUMENTS["shop"]["channels"]:
        for _, fields in await redis.xrange(stream):
            event = json.loads(fields[b"event"])
            types[event["metadata"]["source"]].add(event["type"])
    return dict(types)


async def published(redis: Any, of: dict[str, set[str]]) -> bool:
    """Whether all of these have been published, whatever else there is."""
    so_far = await found(redis)
    return all(types <= so_far.get(source, set()) for source, types in of.items())
