"""The notification service on a real server: consuming, and telling over HTTP what it told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate
from standardwebhooks import Webhook

from eventcore import Settings, SettingsError, Store, load
from eventcore.testing.fixtures import StartServer
from libs.contracts.tests.calling import PATIENCE, Caller
from notification_service.app import create_app
from notification_service.settings import NotificationSettings
from services.notification.tests.outcomes import NEVER_TRIED, REJECTED, RELEASED, RESERVED, Fake

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest_asyncio.fixture
async def call(settings: Settings, store: Store) -> AsyncIterator[Caller]:
    """The running service, telling customers in the log."""
    async with TestClient(TestServer(create_app(NotificationSettings(**dict(settings))))) as client:
        yield await Caller.of(client)


async def told(call: Caller, order_id: str) -> list[dict[str, Any]]:
    answer = await call("GET", f"/notifications?orderId={order_id}")
    notifications: list[dict[str, Any]] = answer["notifications"]
    return notifications


async def test_a_notification_is_recorded_with_the_acknowledgement(call: Caller, store: Store) -> None:
    await store.publish(RESERVED, event_id="event-1")
    await call.settled(store)
    [notification] = await told(call, "1")
    assert notification.pop("sentAt").endswith("Z")
    assert notification == {
        "id": "event-1:log",
        "orderId": "1",
        "kind": "order_confirmed",
        "channel": "log",
        "recipient": "vinet@example.com",
        "status": "sent",
        "eventId": "event-1",
    }


async def test_all_that_happens_to_an_order_is_told_in_turn(call: Caller, store: Store) -> None:
    await store.publish_all([RESERVED, RELEASED])
    await call.settled(store)
    assert [each["kind"] for each in await told(call, "1")] == ["order_confirmed", "order_cancelled"]


@pytest.mark.parametrize(
    ("event", "kind", "recipient"),
    [(REJECTED, "order_rejected", "VINET"), (NEVER_TRIED, "order_cancelled", "log")],
    ids=["rejected", "never tried"],
)
async def test_a_rejection_is_told_as_what_it_means(
    call: Caller, store: Store, event: Any, kind: str, recipient: str
) -> None:
    await store.publish(event)
    await call.settled(store)
    assert [(each["kind"], each["recipient"]) for each in await told(call, "1")] == [(kind, recipient)]


async def test_an_event_that_is_delivered_twice_is_told_once(call: Caller, store: Store) -> None:
    for _ in range(3):
        await store.publish(RESERVED, event_id="event-1")
        await call.settled(store)
    assert len(await told(call, "1")) == 1


async def test_of_an_unknown_order_nothing_was_told(call: Caller) -> None:
    assert await told(call, "nobody's") == []


@pytest.mark.parametrize("query", ["", "?orderId=", f"?orderId={'1' * 201}", "?orderId=1&orderId=2"])
async def test_notifications_are_asked_for_by_order(call: Caller, query: str) -> None:
    problem = await call("GET", f"/notifications{query}", 422)
    assert [error["field"] for error in problem["errors"]] == ["orderId"]


async def test_the_document_is_a_valid_one(call: Caller) -> None:
    validate(call.document)


async def test_without_a_server_everything_is_answered_503(settings: Settings, start_server: StartServer) -> None:
    server = start_server()
    app = create_app(NotificationSettings(**{**dict(settings), "redis_url": server.url}))
    async with TestClient(TestServer(app)) as client:
        call = await Caller.of(client)
        server.kill()
        reply = await call.ask("GET", "/notifications?orderId=1")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


async def test_a_webhook_is_posted_signed_and_with_the_event_id_as_its_key(settings: Settings, store: Store) -> None:
    posts: list[tuple[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.text()
        posts.append((request.headers["webhook-id"], Webhook(SECRET).verify(body, dict(request.headers))))
        return web.Response(status=204)

    receiver = web.Application()
    receiver.router.add_post("/hook", receive)
    async with TestServer(receiver) as server:
        given = {"webhook_url": str(server.make_url("/hook?token=secret")), "webhook_secret": SECRET}
        app = create_app(NotificationSettings(**{**dict(settings), **given}))
        async with TestClient(TestServer(app)) as client:
            call = await Caller.of(client)
            await store.publish(REJECTED, event_id="event-1")
            await call.settled(store)
            [notification] = await told(call, "1")
    [(key, body)] = posts
    assert (key, body["type"], body["data"]["reason"]) == ("event-1", "order_rejected", "out_of_stock")
    assert (notification["channel"], notification["status"]) == ("webhook", "sent")
    assert "secret" not in json.dumps(notification)


async def test_channels_are_closed_when_the_service_ends(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Fake("smtp")
    monkeypatch.setattr(NotificationSettings, "channels", lambda self: (channel,))
    async with TestClient(TestServer(create_app(NotificationSettings(**dict(settings))))) as client:
        call = await Caller.of(client)
        await store.publish(RESERVED)
        await call.settled(store)
        assert (len(channel.told), channel.closed) == (1, False)
    assert channel.closed


async def test_a_channel_that_hangs_in_closing_does_not_keep_the_service_from_ending(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Fake):
        async def close(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("notification_service.app.CLOSING", timedelta(milliseconds=10))
    monkeypatch.setattr(NotificationSettings, "channels", lambda self: (Hanging("smtp"),))
    async with asyncio.timeout(PATIENCE), TestClient(TestServer(create_app(NotificationSettings(**dict(settings))))):
        pass


WRONG = {
    "no mail URL": ({"SMTP_URL": "mail.example.com"}, "SMTP_URL"),
    "no webhook URL": ({"WEBHOOK_URL": "example.com", "WEBHOOK_SECRET": SECRET}, "WEBHOOK_URL"),
    "no secret": ({"WEBHOOK_URL": "https://example.com/hook"}, "WEBHOOK_SECRET"),
    "no base64": ({"WEBHOOK_URL": "https://example.com/hook", "WEBHOOK_SECRET": "hush!"}, "WEBHOOK_SECRET"),
    "a secret that is none": (
        {"WEBHOOK_URL": "https://example.com/hook", "WEBHOOK_SECRET": "AAAA"},
        "WEBHOOK_SECRET",
    ),
    "never given up": ({"GIVE_UP_SECONDS": "inf"}, "GIVE_UP_SECONDS"),
    "no days": ({"STATE_KEEP_DAYS": "0"}, "STATE_KEEP_DAYS"),
}


@pytest.mark.parametrize(("variables", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_one_line_that_names_it_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as failure:
        load(NotificationSettings)
    assert str(failure.value).startswith(named)
    assert len(str(failure.value).splitlines()) == 1
    assert "hush" not in str(failure.value)


def test_variables_that_kubernetes_injects_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("ORDER", "INVENTORY", "NOTIFICATION", "REDIS"):
        monkeypatch.setenv(f"{service}_PORT", "tcp://10.0.0.1:8001")
        monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.1")
    assert load(NotificationSettings).port == 8003
