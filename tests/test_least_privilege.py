"""The whole shop with a Redis user for each service: all goes its way, nobody is refused, and nobody can do more."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

import inventory_service.app
import notification_service.app
import order_service.app
from eventcore.cli.acl import rules_of
from eventcore.operate.access import OPERATOR
from eventcore.operate.dead_letters import DeadLetters
from eventcore.settings import Settings, load
from eventcore.testing import Server, ServerKind, until
from eventcore.testing.fixtures import StartServer
from inventory_service.settings import InventorySettings
from libs.contracts.tests.calling import PATIENCE, Caller
from notification_service.settings import NotificationSettings
from order_service.settings import OrderSettings
from tests.e2e.redis_users import PASSWORD, PROGRAMS, denied, login, write_acl_file

pytestmark = pytest.mark.timeout(4 * PATIENCE)

APPS: dict[str, tuple[Any, type[Settings]]] = {
    "order": (order_service.app.create_app, OrderSettings),
    "inventory": (inventory_service.app.create_app, InventorySettings),
    "notification": (notification_service.app.create_app, NotificationSettings),
}
QUICK = {"heartbeat_seconds": 0.1, "dead_after_seconds": 0.8, "aside_after_seconds": 0.1, "retry_attempts": 2}
GHOST = "a-pod-that-died"


@dataclass
class Shop:
    """Services in this process, each as its own Redis user, and a receiver of webhooks that answers `status`."""

    server: Server
    admin: Any
    stack: AsyncExitStack
    status: int = 204
    call: dict[str, Caller] = field(default_factory=dict)

    async def receive(self, request: web.Request) -> web.Response:
        return web.Response(status=self.status)

    async def start(self, name: str, **more: Any) -> None:
        """Start a service, and wait until it is ready."""
        create, settings = APPS[name]
        given = {key.lower(): value for key, value in login(f"{name}-service", self.server.url).items()}
        app = create(load(settings, pod_name=f"{name}-1", **QUICK, **given, **more))
        self.call[name] = await Caller.of(await self.stack.enter_async_context(TestClient(TestServer(app))))

    async def order(self, quantity: int) -> str:
        """Place an order; its id."""
        body = {"items": [{"productId": "11", "quantity": quantity}], "customerId": "VINET", "email": "a@b.c"}
        headers = {"Idempotency-Key": f"k-{quantity}"}
        return str((await self.call["order"]("POST", "/orders", 202, json=body, headers=headers))["id"])

    async def comes_to(self, order_id: str, status: str, *kinds: str) -> None:
        """Wait until the order has this status, and its customer was told these."""

        async def there() -> bool:
            order = await self.call["order"]("GET", f"/orders/{order_id}")
            told = await self.call["notification"]("GET", f"/notifications?orderId={order_id}")
            return bool(order["status"] == status and set(kinds) <= {each["kind"] for each in told["notifications"]})

        await until(there, timeout=PATIENCE, what=f"{order_id} is {status}")

    async def refused(self) -> list[str]:
        """What any service was refused."""
        self.admin.response_callbacks.clear()
        return denied(await self.admin.execute_command("ACL", "LOG", 128))


@pytest.fixture
def server(
    start_server: StartServer, server_kind: ServerKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Server:
    if server_kind == "valkey":  # the other may be too old for it
        monkeypatch.setenv("ORDER_DURABILITY", "disk")
    monkeypatch.setattr("eventcore.operate.retention.TRIM_EVERY", timedelta(seconds=0.2))
    monkeypatch.setattr("eventcore.operate.reporting.REPORT_EVERY", timedelta(seconds=0.2))
    write_acl_file(tmp_path / "users.acl", default_password="admin")
    options = {"aclfile": str(tmp_path / "users.acl"), "appendfsync": "always"}
    return start_server(password="admin", append_only=True, options=options)


@pytest_asyncio.fixture
async def shop(server: Server) -> AsyncIterator[Shop]:
    """A shop of which nothing runs yet."""
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(Redis.from_url(server.url, protocol=2, decode_responses=True))
        yield Shop(server, admin, stack)


async def test_all_goes_its_way_with_every_service_as_its_own_user(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = web.Application()
    receiver.router.add_post("/", shop.receive)
    hook = await shop.stack.enter_async_context(TestServer(receiver))
    caplog.set_level(logging.INFO)

    await shop.start("order")
    taken_over = await shop.order(1)
    # Another pod of the inventory service has died with it in hand.
    await shop.admin.xgroup_create("orders_stream", "inventory-group", "0")
    await shop.admin.xreadgroup("inventory-group", GHOST, {"orders_stream": ">"})
    await shop.admin.zadd("orders_stream:inventory-group:beats", {GHOST: 1})
    await shop.start("inventory")
    await shop.call["inventory"]("PUT", "/stock", json={"levels": [{"productId": "11", "available": 100}]})
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    await shop.start("notification", webhook_url=str(hook.make_url("/")), webhook_secret=secret, give_up_seconds=2)
    await shop.comes_to(taken_over, "rejected" if await gone(shop) else "confirmed")

    first = await shop.order(2)
    await shop.comes_to(first, "confirmed", "order_confirmed")
    await shop.call["order"]("POST", f"/orders/{first}/cancel", 202)
    await shop.comes_to(first, "cancelled", "order_cancelled")
    await shop.comes_to(await shop.order(1000), "rejected", "order_rejected")

    shop.status = 404
    refused = await shop.order(3)
    await until(lambda: has_letter(shop), timeout=PATIENCE, what="the notification is a dead letter")
    retries = "inventory_stream:notification-group:retry"
    assert (await shop.admin.xinfo_stream(retries))["entries-added"] > 0, "it was aside, and came back"
    shop.status = 204
    async with Redis(port=shop.server.port, username=OPERATOR, password=PASSWORD) as operator:
        letters = DeadLetters(operator, "inventory_stream")
        assert await letters.redrive([each async for each in letters.list()]) == 1
    await shop.comes_to(refused, "confirmed", "order_confirmed")

    for path in ("/orders", "/stock", "/stock/11", f"/reservations/{first}"):
        await shop.call["order" if path == "/orders" else "inventory"]("GET", path)
    await until(lambda: reported(shop), timeout=PATIENCE, what="a service reports the streams")
    assert await shop.refused() == []
    assert [record.getMessage() for record in caplog.records if "permission" in record.getMessage()] == []


async def gone(shop: Shop) -> bool:
    """Whether the first order came before the stock did."""
    events = await shop.admin.xrange("inventory_stream", count=1)
    return bool(events) and "inventory.rejected" in events[0][1]["event"]


async def has_letter(shop: Shop) -> bool:
    return bool(await shop.admin.xlen("inventory_dlq"))


async def reported(shop: Shop) -> bool:
    answers = [await shop.call[name].client.get("/metrics") for name in ("order", "notification")]
    return any(["eventcore_stream_length" in await each.text() for each in answers])


def test_a_notification_service_that_was_taken_over_can_not_take_stock_or_forge_an_order(server: Server) -> None:
    for command in (
        ["HSET", "stock", "11:available", "1000"],
        ["HGET", "stock", "11:available"],
        ["SET", "stock", "x"],
        ["DEL", "stock:index"],
        ["HSET", "order:1", "status", "confirmed"],
        ["HGETALL", "order:1"],
        ["ZADD", "orders:confirmed", "0", "1"],
        ["HSET", "reservation:1", "status", "released"],
        ["XADD", "orders_stream", "*", "event", "{}"],
        ["XADD", "inventory_stream", "*", "event", "{}"],
        ["XRANGE", "orders_stream", "-", "+"],
        ["XDEL", "inventory_stream", "1-0"],
        ["XADD", "orders_dlq", "*", "event", "{}"],
        ["XADD", "inventory_stream:order-group:retry", "*", "event", "{}"],
        ["ZADD", "inventory_stream:order-group:beats", "1", "x"],
        ["XGROUP", "DESTROY", "inventory_stream", "order-group"],
        ["ACL", "SETUSER", "notification-service", "allkeys"],
        ["FLUSHALL"],
    ):
        assert refuses(server, "notification-service", *command), command


def test_it_reads_acknowledges_and_keeps_its_own_records(server: Server) -> None:
    for command in (
        ["XREADGROUP", "GROUP", "notification-group", "x", "STREAMS", "inventory_stream", ">"],
        ["XACK", "inventory_stream", "notification-group", "1-0"],
        ["HSET", "notifications:1", "x", "{}"],
        ["XADD", "inventory_dlq", "*", "event", "{}"],
    ):
        assert not refuses(server, "notification-service", *command)


def test_no_service_can_write_the_records_of_another(server: Server) -> None:
    kept = {
        "order-service": ["order:1", "orders:confirmed", "idempotency:1"],
        "inventory-service": ["stock", "stock:index", "reservation:1"],
        "notification-service": ["notifications:1"],
    }
    for user in kept:
        for owner, keys in kept.items():
            for key in keys:
                assert refuses(server, user, "DEL", key) is (user != owner), (user, key)


def test_no_user_has_all_keys_or_all_commands() -> None:
    for rules in rules_of(PROGRAMS).values():
        words = rules.replace("(", "").replace(")", "").split()
        assert not {"~*", "%R~*", "allkeys", "+@all", "allcommands", "&*", "nopass", "+config|get", "+flushall"} & {
            *words
        }


def refuses(server: Server, user: str, *command: str) -> bool:
    """Whether the server would refuse this to the user; nothing is run."""
    with redis.Redis(port=server.port, password="admin") as admin:
        return admin.execute_command("ACL", "DRYRUN", user, *command) not in (b"OK", "OK", True)
