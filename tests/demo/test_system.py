"""Processes start together, are watched, and leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from demo.options import Options
from demo.ports import choose_ports
from demo.system import System, SystemFailure, environment_for
from eventcore.testing import until

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(180)]


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """The whole system, up and ready."""
    running = System(Options(), choose_ports(Options()))
    try:
        running.start_server()
        await running.start_services()
        yield running
    finally:
        await running.stop(keep=False)


@pytest.fixture
async def empty() -> AsyncIterator[System]:
    """A system with its server and no services."""
    running = System(Options(), choose_ports(Options()))
    try:
        running.start_server()
        yield running
    finally:
        await running.stop(keep=False)


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_everything_starts_and_stops_in_good_order_and_leaves_nothing_behind(system: System) -> None:
    ports = [system.server.port, *(service.port for service in system.services)]
    assert not any(map(refuses, ports))

    assert await system.stop(keep=False) == []

    assert [service.child.status for service in system.services] == [0, 0, 0]
    assert all(map(refuses, ports))
    assert not system.directory.exists()


async def test_a_service_that_dies_ends_the_wait_and_its_log_is_shown(system: System) -> None:
    inventory = next(service.child for service in system.services if service.kind == "inventory")
    waiting = asyncio.create_task(system.guard(asyncio.Event().wait()))
    inventory.kill()
    with pytest.raises(SystemFailure, match=r"(?s)the inventory service was ended by SIGKILL; .*serves on"):
        await waiting
    assert await system.stop(keep=False) == ["the inventory service was ended by SIGKILL"]


async def test_a_server_that_dies_ends_the_wait_and_its_log_is_shown(empty: System) -> None:
    waiting = asyncio.create_task(empty.guard(asyncio.Event().wait()))
    empty.server.kill()
    with pytest.raises(SystemFailure, match=r"(?s)the embedded server has died; .*Ready to accept connections"):
        await waiting


async def test_what_dies_is_started_again_where_it_shall_stay_up(system: System) -> None:
    said: list[str] = []
    keeping = asyncio.create_task(system.keep_up(said.append))
    dead = next(service for service in system.services if service.kind == "inventory")
    dead.child.kill()
    system.server.kill()
    await until(lambda: len(said) == 2 and not refuses(dead.port) and system.server.running, timeout=60)
    assert {line.partition(" has ")[0].partition(" was ")[0] for line in said} == {
        "the embedded server",
        "the inventory service",
    }
    keeping.cancel()


async def test_what_work_returns_or_raises_is_passed_on_while_everything_lives(empty: System) -> None:
    async def broken() -> None:
        raise LookupError("lost")

    assert await empty.guard(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(LookupError):
        await empty.guard(broken())


async def test_data_and_logs_are_kept_on_demand(empty: System) -> None:
    await empty.stop(keep=True)
    assert "Ready to accept connections" in (empty.directory / "redis" / "server.log").read_text()


def test_services_are_told_where_to_be_and_nothing_that_leads_elsewhere() -> None:
    surroundings = {
        "PATH": "/bin",
        "OTEL_TRACES_EXPORTER": "otlp",
        "HOSTNAME": "laptop",
        "REDIS_URL": "redis://production",
        "REDIS_SENTINELS": "production:26379",
        "KEY_PREFIX": "{shop}:",
        "PORT": "80",
        "SMTP_URL": "smtp://production",
    }
    told = environment_for(Options(), "redis://here", 9000, "order service", surroundings)
    assert told == {
        "PATH": "/bin",
        "OTEL_TRACES_EXPORTER": "otlp",
        "HOSTNAME": "laptop",
        "LOG_FORMAT": "console",
        "REDIS_URL": "redis://here",
        "HOST": "127.0.0.1",
        "PORT": "9000",
        "POD_NAME": "order-service",
        "PYTHONUNBUFFERED": "1",
    }


def test_only_made_up_orders_are_kept_from_the_notification_channels() -> None:
    channels = {"WEBHOOK_URL": "https://shop.example"}
    assert channels.items() <= environment_for(Options("up"), "", 1, "", channels).items()
    assert not channels.keys() & environment_for(Options("up", count=1), "", 1, "", channels).keys()
