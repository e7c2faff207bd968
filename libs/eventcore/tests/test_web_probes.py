"""Probes: liveness is about our loops alone, readiness says what is missing, metrics can be scraped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from eventcore import Router, Settings, Store, Transaction
from eventcore.consume import consumer as consuming
from eventcore.testing import Server, until
from eventcore.testing.fixtures import StartServer
from eventcore.web import create_service, probes
from eventcore.web.probes import find_obstacle, not_ready, stuck
from eventcore.web.service import SERVICE, Service

from .test_web import NOWHERE, Client, NotePut, notes_api, serving

Condition = Callable[[], Awaitable[bool] | bool]


def router() -> Router:
    """A router that is content with everything."""
    router = Router(group="notes-group")

    @router.on(NotePut)
    def ignore(note: NotePut) -> Transaction:
        return Transaction()

    return router


async def readiness(client: Client) -> str:
    """`ready`, or why not."""
    answer = await client.get("/readyz")
    content = await answer.json()
    if answer.status == 200:
        assert content == {"status": "ready"}
        return "ready"
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) >= 1
    return str(content["detail"])


async def shared(client: Client) -> bool | None:
    """Whether all replicas have the reason why it is not ready; `None` where it does not say."""
    found: bool | None = (await (await client.get("/readyz")).json()).get("shared")
    return found


async def until_readiness(client: Client, wanted: str) -> str:
    """Wait until readiness contains these words; what it says then."""
    said: list[str] = []

    async def right() -> bool:
        said.append(await readiness(client))
        return wanted in said[-1]

    condition: Condition = right
    await until(condition, what=wanted)
    return said[-1]


async def test_readiness_follows_the_server(start_server: StartServer, settings: Settings) -> None:
    server: Server = start_server()
    mine = settings.model_copy(update={"redis_url": server.url})
    async with serving(create_service(mine, name="notes", routers=[router()])) as client:
        await until_readiness(client, "ready")
        server.kill()
        assert f"127.0.0.1:{server.port}" in await until_readiness(client, "is out of reach")
        assert await shared(client) is True
        assert (await client.get("/livez")).status == 200
        server.start()
        await until_readiness(client, "ready")


async def test_a_service_starts_without_a_server_and_becomes_ready_when_it_comes(
    start_server: StartServer, settings: Settings
) -> None:
    server: Server = start_server()
    server.kill()
    mine = settings.model_copy(update={"redis_url": server.url})
    async with serving(create_service(mine, name="notes", routers=[router()])) as client:
        await until_readiness(client, "is out of reach")
        server.start()
        await until_readiness(client, "ready")


async def test_a_server_that_is_silent_is_noticed_soon(start_server: StartServer, settings: Settings) -> None:
    server: Server = start_server()
    mine = settings.model_copy(update={"redis_url": server.url})
    async with serving(create_service(mine, name="notes")) as client:
        await until_readiness(client, "ready")
        server.pause()
        began = time.monotonic()
        assert "did not answer within 1 s" in await readiness(client)
        assert time.monotonic() - began < 3
        server.resume()
        await until_readiness(client, "ready")


async def test_who_drains_is_alive_but_not_ready_and_sends_clients_away(settings: Settings) -> None:
    app = create_service(settings, name="notes", routers=[router()], api=notes_api())
    async with serving(app) as client:
        await until_readiness(client, "ready")
        await app[SERVICE].drain()
        assert await readiness(client) == "draining"
        assert await shared(client) is False
        assert (await client.get("/livez")).status == 200
        answer = await client.get("/notes")
        assert (answer.status, answer.headers["Connection"]) == (200, "close")


def service_with(store: Store, **consumer: Any) -> Service:
    """A service with one consumer, which is as told."""

    async def exists() -> bool:
        return bool(consumer.get("exists", True))

    told = SimpleNamespace(
        router=SimpleNamespace(group="notes-group"),
        problem=consumer.get("problem"),
        draining=consumer.get("draining", False),
        turned_at=time.monotonic() - consumer.get("silence", 0),
        member=SimpleNamespace(exists=exists),
    )
    stand_in: Any = told
    return Service("notes", store, (stand_in,), greeted=True)


async def test_a_group_that_is_missing_is_said_to_be(store: Store) -> None:
    assert await not_ready(service_with(store)) is None
    assert await not_ready(service_with(store, exists=False)) == "notes-group does not exist (any more)"


async def test_a_service_is_not_ready_before_it_knows_what_the_server_is_like(store: Store) -> None:
    service = service_with(store)
    service.greeted = False
    reason = f"what Redis at {store.settings.redis_address} is like is not known yet"
    assert await find_obstacle(service) == (reason, True)


async def test_a_consumer_that_is_not_reading_says_why(store: Store) -> None:
    obstacle = await find_obstacle(service_with(store, problem="too many retries wait"))
    assert obstacle == ("too many retries wait", None)


async def test_a_service_that_is_about_to_end_is_not_ready(store: Store) -> None:
    service = service_with(store)
    service.failure = RuntimeError("a defect")
    assert await not_ready(service) == "about to end: a defect"


async def test_a_loop_that_stopped_to_turn_is_not_alive(store: Store) -> None:
    assert stuck(service_with(store, silence=19)) is None
    assert stuck(service_with(store, silence=21)) == "notes-group has not turned for 21 s"
    assert stuck(service_with(store, silence=21, draining=True)) is None


@pytest.mark.parametrize("loop", ["read", "beat_once"])
async def test_a_loop_that_waits_for_ever_fails_liveness_although_requests_are_answered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setattr(probes, "ALIVE_SECONDS", 1.5)
    monkeypatch.setattr(consuming, "LONGEST_BLOCK", timedelta(seconds=0.2))
    app = create_service(settings, name="notes", routers=[router()])
    consumer = app[SERVICE].consumers[0]

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async with serving(app) as client:
        await until_readiness(client, "ready")
        assert (await client.get("/livez")).status == 200
        monkeypatch.setattr(consumer.member if loop == "read" else consumer._takeover, loop, never)

        async def dead() -> bool:
            answer = await client.get("/livez")
            return answer.status == 503 and "notes-group has not turned for" in (await answer.json())["detail"]

        condition: Condition = dead
        await until(condition, what="liveness to fail")


async def test_a_consumer_that_ends_by_a_defect_is_noticed(settings: Settings) -> None:
    app = create_service(settings, name="notes", routers=[router()])
    service = app[SERVICE]

    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    service.consumers[0].member.read = broken  # type: ignore[assignment,method-assign]
    async with serving(app) as client:
        async with asyncio.timeout(10):
            await service.failed.wait()
        assert await readiness(client) == "about to end: a defect"


async def test_metrics_are_those_of_requests_but_not_of_probes() -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        await client.get("/notes/17")
        await client.get("/livez")
        answer = await client.get("/metrics")
        text = await answer.text()
    assert answer.content_type == "text/plain"
    assert 'http_route="/notes/{noteId}"' in text
    assert "/livez" not in text
    assert "17" not in [line.split("noteId")[-1] for line in text.splitlines() if "http_route" in line]
