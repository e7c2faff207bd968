"""A service's main: settings, logs, telemetry, serving, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, NoReturn, TypeVar

from aiohttp import web

from eventcore.errors import SettingsError
from eventcore.server.pipe import WrongPassword
from eventcore.settings import Settings, load
from eventcore.telemetry.configure import configure
from eventcore.telemetry.logs import configure_logging

from .door import ROOM_OF_MANAGEMENT, Door, room_for_connections, room_for_management
from .ending import GROUPS_SECONDS, RESOURCES_SECONDS, TELEMETRY_SECONDS, Ending
from .listener import FRESH_SECONDS, CannotListen, address_shown, take_port
from .service import MANAGEMENT, SERVICE, Service

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)

# Exit statuses.
DONE, FAILED, WRONG_SETTINGS = 0, 1, 2
# How long clients with lasting connections are given to hear that they should go elsewhere.
PARTING_SECONDS = 0.5
# How long requests in hand may take to finish once nothing new is accepted, and the last telemetry; both at most.
REQUESTS_SECONDS = 5.0
FLUSH_SECONDS = 5.0


def run(create: Callable[[S], web.Application], settings: type[S], **defaults: Any) -> NoReturn:
    """Run the service that `create` makes until SIGTERM or SIGINT, and exit.

    Settings are read from the environment; `defaults` say what holds where it is silent. The exit status is 0 after a
    clean end, 2 for wrong settings or credentials, 1 for everything else; the last line on standard error says why.
    """
    import uvloop

    try:
        chosen = _load(settings, defaults)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(_main(create, chosen))
    except (SettingsError, WrongPassword, CannotListen) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        status = FAILED if isinstance(error, CannotListen) else WRONG_SETTINGS
    except Exception:  # a defect of the service's own wiring: it belongs into the log like any other
        log.critical("the service ended by a defect", exc_info=True)
        status = FAILED
    sys.exit(status)


def _load(settings: type[S], defaults: dict[str, Any]) -> S:
    said = {name.lower() for name, value in os.environ.items() if value}
    return load(settings, **{name: value for name, value in defaults.items() if name not in said})


async def _main(create: Callable[[S], web.Application], settings: S) -> int:
    """Serve until SIGTERM or SIGINT, or until a part fails; the exit status."""
    stop, ending = asyncio.Event(), Ending(settings.drain_seconds)

    def told() -> None:
        ending.begin()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)
    # First of all: a port that is taken should not cost a consumer group a rebalance.
    with _take_ports(settings) as (listening, managing):
        app = create(settings)
        service = app[SERVICE]
        configure_logging(
            service=service.name, pod=settings.pod_name, level=settings.log_level, style=settings.log_format
        )
        service.ending = ending
        flush = configure(service.name, settings)
        async with AsyncExitStack() as stack:
            stack.callback(lambda: flush(ending.left(most=FLUSH_SECONDS)))
            management = await stack.enter_async_context(_management(app, managing))
            # `_end_serving` has waited for requests already, as long as there was time.
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            relieve_collector()
            collecting = asyncio.create_task(collect_now_and_then(), name="garbage")
            most_of_one = settings.max_connections_per_address
            door = Door(listening, runner, lambda: room_for_connections(settings), most_of_one=most_of_one)
            door.open()
            serving = {"name": service.name, "address": address_shown(settings.host, settings.port)}
            log.info("%(name)s serves on %(address)s", serving)
            if management is not None:
                management.open()
                log.info("probes and metrics are on port %(port)s", {"port": settings.management_port})
            await _first(stop, service.failed)
            log.info("stopping")
            ending.begin()
            await _end_serving(runner, door, service)
            collecting.cancel()
    if isinstance(service.failure, SettingsError | WrongPassword):
        raise service.failure
    log.info("stopped")
    status = DONE if service.failure is None else FAILED
    ending.ended(status)
    return status


@contextmanager
def _take_ports(settings: Settings) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    """The port of the API and, where there is one, that of management."""
    with take_port(settings.host, settings.port) as listening:
        if settings.management_port is None:
            yield listening, None
            return
        with take_port(settings.host, settings.management_port, setting="MANAGEMENT_PORT") as managing:
            yield listening, managing


@asynccontextmanager
async def _management(app: web.Application, listening: socket.socket | None) -> AsyncIterator[Door | None]:
    """The management port, not yet accepting; once opened it answers probes to the end of the drain."""
    if listening is None:
        yield None
        return
    runner = web.AppRunner(app[MANAGEMENT], shutdown_timeout=0.1)
    await runner.setup()
    door = Door(listening, runner, room_for_management, hint=ROOM_OF_MANAGEMENT)
    try:
        yield door
    finally:
        door.close()
        await runner.cleanup()


def relieve_collector() -> None:
    """Look for garbage less often, and never among what lives as long as the process.

    Deliveries are thousands of objects that no cycle keeps alive: at Python's own thresholds the search for cycles
    takes a third of a consumer's time and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def collect_now_and_then(every: float = 60.0) -> None:
    """Look for young garbage every so many seconds, until cancelled.

    redis-py leaves a cycle behind with every INFO and every error. They are few: waiting for the threshold, what they
    hold would add up to megabytes.
    """
    while True:
        await asyncio.sleep(every)
        gc.collect(0)


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


async def _end_serving(runner: web.AppRunner, door: Door, service: Service) -> None:
    """Finish what is in hand: first deliveries, while HTTP still answers, then requests."""
    ending, later = service.ending, RESOURCES_SECONDS + TELEMETRY_SECONDS
    async with ending.within(ending.drain_seconds + GROUPS_SECONDS, "consuming"):
        await service.drain()
    # Clients with lasting connections may ask once more: the answer tells them to go elsewhere.
    await _while(lambda: bool(runner.server and runner.server.connections), PARTING_SECONDS)
    door.close()
    await _while(door.close_those_at_rest, FRESH_SECONDS)  # aiohttp would wait for their next request
    if runner.server is not None:
        seconds = ending.left(reserve=later, most=REQUESTS_SECONDS)
        async with ending.within(seconds + 0.2, "requests in hand"):
            await runner.server.shutdown(seconds)  # they are cancelled then, and may take a moment to notice


async def _while(condition: Callable[[], bool], most_seconds: float) -> None:
    """Wait until this is no longer so, but not for ever."""
    deadline = time.monotonic() + most_seconds
    while condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - aiohttp tells nobody when a connection ends
        await asyncio.sleep(0.02)
