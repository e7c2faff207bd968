"""Processes start together, are watched, and leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from demo.options import Options
from demo.ports import free_port
from demo.system import System, SystemFailure, choose_ports, environment_for

pytestmark = pytest.mark.xdist_group("demo")


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """The whole system, up and ready."""
    running = System(Options())
    try:
        running.start_server()
        await running.start_services()
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


async def test_data_and_logs_are_kept_on_demand(system: System) -> None:
    await system.stop(keep=True)
    assert (system.directory / "order-service.log").exists()


async def test_a_service_that_dies_ends_the_wait_and_its_log_is_shown(system: System) -> None:
    inventory = next(service.child for service in system.services if service.kind == "inventory")
    waiting = asyncio.create_task(system.guard(asyncio.Event().wait()))
    inventory.kill()
    with pytest.raises(SystemFailure, match=r"(?s)the inventory service was ended by SIGKILL; .*serves on"):
        await waiting


async def test_a_server_that_dies_ends_the_wait_and_its_log_is_shown(system: System) -> None:
    waiting = asyncio.create_task(system.guard(asyncio.Event().wait()))
    system.server.kill()
    with pytest.raises(SystemFailure, match=r"(?s)the embedded server has died; .*Ready to accept connections"):
        await waiting


async def test_what_work_raises_is_raised_while_everything_lives(system: System) -> None:
    async def broken() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError):
        await system.guard(broken())


async def test_who_is_killed_before_it_can_finish_is_named(system: System) -> None:
    system.kill()
    problems = await system.stop(keep=False)
    assert problems == [f"the {kind} service was ended by SIGKILL" for kind in ("order", "inventory", "notification")]


def test_a_port_that_is_taken_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemFailure, match=rf"port {port} of the order service .* make up ORDER_LISTEN=\d+$"):
            choose_ports(Options("up", ports={"order": port}))


def test_up_takes_the_default_ports_and_the_demo_free_ones() -> None:
    defaults = {"order": 8001, "inventory": 8002, "notification": 8003}
    with suppress(SystemFailure):  # somebody is up on this machine
        assert choose_ports(Options("up")) == defaults
    assert not set(choose_ports(Options()).values()) & set(defaults.values())
    assert choose_ports(Options(ports={"order": (port := free_port())}))["order"] == port


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
