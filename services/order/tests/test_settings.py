"""What the order service can be told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer

from eventcore import SettingsError, load
from eventcore.commit.durability import Durability
from eventcore.testing import Server
from libs.contracts.tests.calling import Caller
from order_service.app import create_app
from order_service.settings import OrderSettings


def test_the_port_is_8001_whatever_kubernetes_injects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_PORT", "tcp://10.0.0.1:8001")
    monkeypatch.setenv("ORDER_SERVICE_PORT", "8001")
    assert load(OrderSettings).port == 8001


def test_orders_are_kept_for_30_days_and_keys_for_one_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load(OrderSettings).keep, load(OrderSettings).remember) == (timedelta(days=30), timedelta(days=1))
    monkeypatch.setenv("STATE_KEEP_DAYS", "7")
    monkeypatch.setenv("IDEMPOTENCY_KEEP_HOURS", "1")
    assert (load(OrderSettings).keep, load(OrderSettings).remember) == (timedelta(days=7), timedelta(hours=1))


@pytest.mark.parametrize(
    ("variable", "value"), [("STATE_KEEP_DAYS", "0"), ("IDEMPOTENCY_KEEP_HOURS", "x"), ("ORDER_DURABILITY", "tape")]
)
def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as failure:
        load(OrderSettings)
    assert str(failure.value).startswith(f"{variable}: ")
    assert len(str(failure.value).splitlines()) == 1


async def test_an_order_can_be_answered_once_it_is_on_disk() -> None:
    """On Valkey, which is always there: Redis 7.0 can't wait for its disk."""
    with Server(append_only=True, options={"appendfsync": "always"}) as server:
        settings = OrderSettings(redis_url=server.url, order_durability=Durability.DISK)
        async with TestClient(TestServer(create_app(settings))) as client:
            call = await Caller.of(client)
            body = {"items": [{"productId": "tea", "quantity": 1}]}
            first = await call("POST", "/orders", 202, json=body, headers={"Idempotency-Key": "one"})
            assert await call("POST", "/orders", 202, json=body, headers={"Idempotency-Key": "one"}) == first
            server.kill()
            server.start()
            order = await call("GET", f"/orders/{first['id']}")
            assert order["status"] == "processing"
