"""The service and a receiver of webhooks that refuses, is down, or is slow: nobody is forgotten, and nobody waits."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from eventcore import Settings, Store
from eventcore.operate.dead_letters import DeadLetters
from eventcore.testing import until
from libs.contracts.tests.calling import PATIENCE, Caller
from libs.contracts.tests.streams import entries
from notification_service.app import create_app
from notification_service.domain.measures import receivers_down
from notification_service.settings import NotificationSettings
from services.notification.tests import mail_server
from services.notification.tests.outcomes import RESERVED

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEAK = "whsec_c2VjcmV0"
ATTEMPTS = 2
# So few that all places are soon taken.
FEW: dict[str, Any] = {"consumer_concurrency": 16, "consumer_waiting": 16}


@dataclass
class Hook:
    """A receiver of webhooks: `answer` says by which status; `posts` counts what came, by webhook-id and status."""

    answer: Callable[[Any], int]
    posts: Counter[tuple[str, int]] = field(default_factory=Counter)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0

    async def receive(self, request: web.Request) -> web.Response:
        status = self.answer(json.loads(await request.text()))
        self.posts[request.headers["webhook-id"], status] += 1
        self.under_way += 1
        await self.gate.wait()
        self.under_way -= 1
        return web.Response(status=status)


@asynccontextmanager
async def service(settings: Settings, hook: Hook, *, held: bool = False, **more: Any) -> AsyncIterator[Caller]:
    """The service as it runs, posting to this receiver, which answers at once or holds what it gets."""
    if not held:
        hook.gate.set()
    receiver = web.Application()
    receiver.router.add_post("/hook", hook.receive)
    async with TestServer(receiver) as server:
        url = str(server.make_url("/hook"))
        given = {**dict(settings), "webhook_url": url, "webhook_secret": SECRET, "retry_attempts": ATTEMPTS, **more}
        async with TestClient(TestServer(create_app(NotificationSettings(**given)))) as client:
            try:
                yield await Caller.of(client)
            finally:
                hook.gate.set()


async def statuses(call: Caller, order_id: str = "1") -> dict[str, str]:
    """What is recorded of an order, by channel."""
    told = (await call("GET", f"/notifications?orderId={order_id}"))["notifications"]
    return {each["channel"]: each["status"] for each in told}


async def publish(store: Store, count: int) -> None:
    """So many orders are reserved."""
    await store.publish_all([RESERVED.model_copy(update={"order_id": str(number)}) for number in range(count)])


async def letters(store: Store, count: int) -> list[dict[bytes, bytes]]:
    """The dead letters, once there are so many."""

    async def found() -> list[dict[bytes, bytes]]:
        there = await entries(store, "inventory_dlq")
        return there if len(there) == count else []

    return await until(found, timeout=PATIENCE, what=f"{count} dead letters")


async def redrive(store: Store) -> None:
    dead = DeadLetters(store.redis, "inventory_stream", prefix=store.settings.key_prefix)
    assert await dead.redrive([letter async for letter in dead.list()]) > 0


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_receiver_that_is_being_deployed_forgets_no_customer(
    settings: Settings, store: Store, status: int
) -> None:
    hook = Hook(lambda body: status)
    async with service(settings, hook) as call:
        await store.publish(RESERVED, event_id="event-1")
        await until(lambda: hook.posts["event-1", status] > ATTEMPTS, timeout=PATIENCE)
        hook.answer = lambda body: 204
        await call.settled(store)
        assert await statuses(call) == {"webhook": "sent"}
    assert hook.posts["event-1", 204] == 1
    assert await entries(store, "inventory_dlq") == []


@pytest.mark.parametrize(
    ("status", "attempts", "reason"),
    [(410, 1, b"rejected"), *((status, ATTEMPTS, b"attempts_exhausted") for status in (400, 409, 413, 422))],
)
async def test_what_is_refused_is_a_dead_letter_that_a_redrive_sends(
    settings: Settings, store: Store, status: int, attempts: int, reason: bytes
) -> None:
    hook = Hook(lambda body: status)
    async with service(settings, hook) as call:
        await store.publish(RESERVED, event_id="event-1")
        [letter] = await letters(store, 1)
        assert letter[b"reason"] == reason
        assert f"answered {status}".encode() in letter[b"error"]
        assert await statuses(call) == {"webhook": "failed"}
        hook.answer = lambda body: 204
        await redrive(store)
        await call.settled(store)
        assert await statuses(call) == {"webhook": "sent"}
    assert hook.posts == {("event-1", status): attempts, ("event-1", 204): 1}


async def test_what_stays_out_of_reach_for_too_long_is_a_dead_letter_that_a_redrive_sends(
    settings: Settings, store: Store
) -> None:
    hook = Hook(lambda body: 404)
    async with service(settings, hook, give_up_seconds=0.5) as call:
        await store.publish(RESERVED, event_id="event-1")
        [letter] = await letters(store, 1)
        assert letter[b"reason"] == b"unavailable"
        assert b"answered 404" in letter[b"error"]
        hook.answer = lambda body: 204
        await redrive(store)
        await call.settled(store)
        assert await statuses(call) == {"webhook": "sent"}
    assert hook.posts["event-1", 204] == 1


async def test_a_slow_receiver_is_posted_each_notification_once(settings: Settings, store: Store) -> None:
    hook = Hook(lambda body: 204)
    async with service(settings, hook, held=True, consumer_concurrency=100) as call:
        await publish(store, 120)
        await until(lambda: hook.under_way == 100, timeout=PATIENCE)
        hook.gate.set()
        await call.settled(store)
    assert len(hook.posts) == hook.posts.total() == 120


async def test_a_slow_mail_server_is_sent_each_mail_once(settings: Settings, store: Store) -> None:
    hook, arrived, go_on = Hook(lambda body: 204), asyncio.Semaphore(0), asyncio.Event()

    async def wait(_: Any) -> str:
        arrived.release()
        await go_on.wait()
        return "250 OK"

    async with mail_server.running(mail_server.Receiver(DATA=wait)) as mail:
        url = f"smtp://127.0.0.1:{mail.port}?from=shop@example.com&timeout=60"
        async with service(settings, hook, smtp_url=url) as call:
            await publish(store, 96)
            for _ in range(settings.consumer_concurrency):
                await arrived.acquire()
            go_on.set()
            await call.settled(store)
    assert len(mail.mails) == 96


async def test_while_webhooks_are_down_mails_go_on_and_few_posts_are_made(settings: Settings, store: Store) -> None:
    hook = Hook(lambda body: 503)
    async with mail_server.running(mail_server.Receiver()) as mail:
        url = f"smtp://127.0.0.1:{mail.port}?from=shop@example.com"
        async with service(settings, hook, smtp_url=url, **FEW) as call:
            await publish(store, 100)
            await until(lambda: len(mail.mails) == 100, timeout=PATIENCE)
            assert receivers_down.read() == {("smtp",): 0, ("webhook",): 1}
            assert hook.posts.total() < 50  # as many as go at once, and few more

            async def recorded() -> bool:
                return await statuses(call, "99") == {"smtp": "sent"}

            await until(recorded, timeout=PATIENCE)


async def test_one_notification_that_is_refused_for_ever_holds_up_no_other(settings: Settings, store: Store) -> None:
    hook = Hook(lambda body: 500 if body["data"]["orderId"] == "0" else 204)
    async with service(settings, hook) as call:
        await publish(store, 1)
        await until(lambda: hook.posts.total() > 3, timeout=PATIENCE)
        await publish(store, 50)
        await until(lambda: len([1 for _, status in hook.posts if status == 204]) == 49, timeout=PATIENCE)
        assert receivers_down.read() == {("webhook",): 0}
        assert await statuses(call, "0") == {}


async def test_many_that_are_refused_for_ever_hold_up_no_other(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventcore.consume.aside.OWN_FAULT_AFTER", 0.4)
    monkeypatch.setattr("eventcore.consume.consumer._BETWEEN_PROBES", 0.1)
    bad, good = 24, 20
    hook = Hook(lambda body: 500 if int(body["data"]["orderId"]) < bad else 204)
    async with service(settings, hook, **FEW):
        await publish(store, bad + good)
        await until(lambda: len([1 for _, status in hook.posts if status == 204]) == good, timeout=PATIENCE)


async def test_a_weak_secret_is_told_at_start(
    settings: Settings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with service(settings, Hook(lambda body: 204), webhook_secret=WEAK):
        pass
    assert "WEBHOOK_SECRET has 6 bytes, Standard Webhooks asks for 24 to 64: it is weak" in caplog.text


async def test_records_of_a_newer_version_are_left_out_of_the_list(
    settings: Settings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with service(settings, Hook(lambda body: 204)) as call:
        await store.publish(RESERVED)
        await call.settled(store)
        await store.redis.hset(store.key("notifications:1"), "of a newer version", '{"status":"read"}')
        assert await statuses(call) == {"webhook": "sent"}
    assert any("can't be read and is left out" in each for each in caplog.messages)
