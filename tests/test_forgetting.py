"""`eventcore forget` takes a customer out of all that the shop keeps, and says what it has to leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from eventcore import Settings, timestamp
from eventcore.cli.acl import rules_of
from eventcore.operate.access import CONSOLE, OPERATOR
from eventcore.server.keys import aside_entries_key, aside_key
from eventcore.testing import Server, until, until_idle
from eventcore.testing.fixtures import Connect
from inventory_service.app import create_app as inventory
from inventory_service.settings import InventorySettings
from libs.contracts.tests.calling import PATIENCE, Caller
from libs.eventcore.tests.tool import Result, run
from notification_service.app import create_app as notification
from notification_service.settings import NotificationSettings
from order_service.app import create_app as order
from order_service.settings import OrderSettings

pytestmark = pytest.mark.timeout(4 * PATIENCE)

HER_ID, HER_ADDRESS = "ANNA-17", "anna@example.com"
SHE = {"customerId": HER_ID, "email": HER_ADDRESS}
HE = {"customerId": "BERT-4", "email": "bert@example.com"}


class Shop:
    """The three services on one server."""

    def __init__(self, redis: Any, orders: Caller, stock: Caller, told: Caller, idle: Any) -> None:
        self.redis, self.orders, self.stock, self.told, self.settled = redis, orders, stock, told, idle

    async def place(self, whose: dict[str, str], product_id: str = "tea") -> str:
        """An order, followed to its end; its id."""
        body = {"items": [{"productId": product_id, "quantity": 1}], **whose}
        placed = await self.orders("POST", "/orders", 202, json=body)
        await self.settled()
        order_id: str = placed["id"]
        return order_id

    async def all_of_redis(self) -> str:
        """What stands in Redis, whatever it is."""
        said: list[Any] = []
        async for key in self.redis.scan_iter():
            match await self.redis.type(key):
                case b"hash":
                    said.append(await self.redis.hgetall(key))
                case b"stream":
                    said.append(await self.redis.xrange(key))
                case b"zset":
                    said.append(await self.redis.zrange(key, 0, -1))
                case _:
                    said.append(await self.redis.get(key))
            said.append(key)
        return str(said)


@pytest_asyncio.fixture
async def shop(settings: Settings, connect: Connect) -> AsyncIterator[Shop]:
    store = await connect()
    async with AsyncExitStack() as stack:
        made = [
            order(OrderSettings(**dict(settings))),
            inventory(InventorySettings(**dict(settings))),
            notification(NotificationSettings(**dict(settings))),
        ]
        orders, stock, told = [
            await Caller.of(await stack.enter_async_context(TestClient(TestServer(app)))) for app in made
        ]
        consumers = [consumer for each in (orders, stock, told) for consumer in each.consumers]

        async def settled() -> None:
            await until_idle(store, *consumers, timeout=PATIENCE)

        await stock("PUT", "/stock/tea", json={"available": 100})
        yield Shop(store.redis, orders, stock, told, settled)


async def forget(server: Server, *whom: str, status: int = 0) -> Result:
    return await asyncio.to_thread(run, server, "forget", *whom, status=status)


async def test_nothing_that_the_shop_keeps_names_a_customer_who_is_forgotten(shop: Shop, redis_server: Server) -> None:
    confirmed, rejected, cancelled = [await shop.place(SHE, each) for each in ("tea", "unheard-of", "tea")]
    await shop.orders("POST", f"/orders/{cancelled}/cancel", 202)
    his = await shop.place(HE)
    await shop.settled()
    before = await shop.all_of_redis()
    assert HER_ID in before
    assert HER_ADDRESS in before

    done = (await forget(redis_server, "--customer", HER_ID, "--json")).json
    after = await shop.all_of_redis()
    assert HER_ID not in after
    assert HER_ADDRESS not in after
    assert done["left"] == 0
    found = {each["place"]: (each["found"], each["masked"], each["removed"]) for each in done["found"]}
    assert found == {
        "order:*": (3, 3, 0),
        "reservation:*": (3, 3, 0),
        "notifications:*": (3, 3, 0),
        "orders_stream": (3, 0, 3),
        "inventory_stream": (4, 0, 4),
    }

    for order_id, status in ((confirmed, "confirmed"), (rejected, "rejected"), (cancelled, "cancelled")):
        shown = await shop.orders("GET", f"/orders/{order_id}")
        assert shown["status"] == status
        assert not {"customerId", "email"} & shown.keys()
        told = await shop.told("GET", f"/notifications?orderId={order_id}")
        assert {each["recipient"] for each in told["notifications"]} == {"forgotten"}
    assert (await shop.orders("GET", f"/orders/{his}")).items() >= HE.items()
    assert (await shop.stock("GET", "/stock/tea")) == {"productId": "tea", "available": 98, "reserved": 2}

    again = await forget(redis_server, "--customer", HER_ID)
    assert again.lines == ["nothing of this customer was found"]


async def test_an_order_of_somebody_forgotten_can_still_be_cancelled(shop: Shop, redis_server: Server) -> None:
    order_id = await shop.place(SHE)
    await forget(redis_server, "--email", HER_ADDRESS.upper())
    await shop.orders("POST", f"/orders/{order_id}/cancel", 202)
    await shop.settled()
    assert (await shop.stock("GET", "/stock/tea"))["available"] == 100
    after = await shop.all_of_redis()
    assert HER_ID not in after
    assert HER_ADDRESS not in after


async def test_forgetting_upsets_neither_lag_nor_the_look_out_for_losses(
    shop: Shop, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for whose in (SHE, HE, SHE):
        await shop.place(whose)
    await forget(redis_server, "--customer", HER_ID)
    await shop.place(HE)
    for stream in ("orders_stream", "inventory_stream"):
        assert [row["lag"] for row in await shop.redis.xinfo_groups(stream)] in ([0], [0, 0])
    status = await asyncio.to_thread(run, redis_server, "status", "--json")
    assert {group["lag"] for stream in status.json["streams"] for group in stream["groups"]} == {0}
    assert "lost" not in caplog.text


async def test_what_a_group_has_not_finished_is_left_and_said(shop: Shop, redis_server: Server) -> None:
    await shop.redis.xgroup_create("orders_stream", "slow-group", "0", mkstream=True)
    await shop.place(SHE)
    done = (await forget(redis_server, "--customer", HER_ID, "--json", status=1)).json
    [left] = [each for each in done["found"] if each["left"]]
    assert (left["place"], left["removed"], left["left"][0]["count"]) == ("orders_stream", 0, 1)
    assert "not finished" in left["left"][0]["why"]

    [[_, [[entry_id, _]]]] = await shop.redis.xreadgroup("slow-group", "me", {"orders_stream": ">"})
    await forget(redis_server, "--customer", HER_ID, "--json", status=1)  # pending now
    await shop.redis.xack("orders_stream", "slow-group", entry_id)
    assert (await forget(redis_server, "--customer", HER_ID, "--json")).json["left"] == 0
    assert HER_ID not in await shop.all_of_redis()


async def test_a_dead_letter_names_nobody_and_can_be_redriven(shop: Shop, redis_server: Server) -> None:
    broken = {
        "type": "inventory.rejected",
        "data": {"orderId": "o-1", "reason": "nonsense", "shortages": [], **SHE},
        "metadata": {"eventId": "e-1", "timestamp": timestamp()},
    }
    await shop.redis.xadd("inventory_stream", {"event": json.dumps(broken)})
    await until(lambda: has(shop, "inventory_dlq", 2), what="both groups to give up", timeout=PATIENCE)
    quoting = {"event": json.dumps(broken), "group": "order-group", "error": f"no mailbox {HER_ADDRESS}"}
    await shop.redis.xadd("inventory_dlq", quoting)
    await forget(redis_server, "--customer", HER_ID)
    letters = await shop.redis.xrange("inventory_dlq")
    assert HER_ID not in str(letters)
    assert HER_ADDRESS not in str(letters)
    assert letters[2][1][b"error"] == b"no mailbox forgotten"
    for _, letter in letters:
        kept = json.loads(letter[b"event"])
        assert (kept["type"], kept["data"].keys()) == (broken["type"], {"orderId", "reason", "shortages"})
    redriven = await asyncio.to_thread(run, redis_server, "dlq", "redrive", "inventory_stream", "--all")
    assert redriven.lines == ["3 of 3 redriven"]


async def has(shop: Shop, name: str, count: int) -> bool:
    return bool(await shop.redis.xlen(name) == count)


async def test_what_changes_meanwhile_keeps_the_change(shop: Shop, redis_server: Server) -> None:
    order_id = await shop.place(SHE)
    cancelling = asyncio.gather(
        shop.orders("POST", f"/orders/{order_id}/cancel", 202), forget(redis_server, "--customer", HER_ID)
    )
    await asyncio.gather(cancelling, return_exceptions=True)  # what is under way may be left
    await shop.settled()
    await forget(redis_server, "--customer", HER_ID)
    assert (await shop.orders("GET", f"/orders/{order_id}"))["status"] == "cancelled"
    assert (await shop.stock("GET", "/stock/tea"))["available"] == 100
    assert HER_ID not in await shop.all_of_redis()


async def test_a_dry_run_changes_nothing(shop: Shop, redis_server: Server) -> None:
    await shop.place(SHE)
    before = await shop.all_of_redis()
    done = (await forget(redis_server, "--customer", HER_ID, "--dry-run", "--json")).json
    assert {each["place"] for each in done["found"]} >= {"order:*", "reservation:*", "orders_stream"}
    assert {each["masked"] + each["removed"] for each in done["found"]} == {0}
    after = await shop.all_of_redis()
    assert (after.count(HER_ID), after.count(HER_ADDRESS)) == (before.count(HER_ID), before.count(HER_ADDRESS))


async def test_what_is_aside_is_left_and_said(shop: Shop, redis_server: Server, settings: Settings) -> None:
    await shop.place(SHE)
    [_, fields] = (await shop.redis.xrange("inventory_stream"))[0]
    packed = packed_as_the_script_does([b"event", fields[b"event"]])
    await shop.redis.hset(aside_entries_key("inventory_stream", "order-group"), "1-1", packed)
    await shop.redis.zadd(aside_key("inventory_stream", "order-group"), {"1-1": 4_102_444_800_000})  # due in 2100
    done = await forget(redis_server, "--customer", HER_ID, "--json", status=1)
    assert "waits for another attempt" in done.stdout
    assert HER_ID not in done.stdout


def packed_as_the_script_does(words: list[bytes]) -> bytes:
    """A list of raw texts, as Lua's cmsgpack writes them."""
    return bytes([0x90 | len(words)]) + b"".join(b"\xdb" + len(word).to_bytes(4, "big") + word for word in words)


def test_it_must_be_said_who() -> None:
    assert "--customer ID or --email ADDRESS" in run(None, "forget", status=2).stderr


@pytest.mark.parametrize(("user", "may"), [(OPERATOR, True), (CONSOLE, False), ("order-service", False)])
async def test_only_the_operators_user_can_forget_somebody(
    shop: Shop, redis_server: Server, user: str, may: bool
) -> None:
    await shop.place(SHE)
    for name in ("orders_dlq", "inventory_stream:order-group:retry"):
        letter = {"event": '{"type":"x","data":{"orderId":"o","customerId":"ANNA-17"}}', "group": "g"}
        await shop.redis.xadd(name, letter)
    await shop.settled()
    rules = rules_of(["order_service", "inventory_service", "notification_service"])[user]
    await shop.redis.execute_command("ACL", "SETUSER", user, "on", ">pw", *rules.split())
    url = redis_server.url.replace("redis://", f"redis://{user}:pw@")
    done = await forget(redis_server, "--customer", HER_ID, "--redis-url", url, status=0 if may else 1)
    assert may or "ermission" in done.stderr
    assert (HER_ID in await shop.all_of_redis()) is not may
    await shop.redis.execute_command("ACL", "DELUSER", user)
