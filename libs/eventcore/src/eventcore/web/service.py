"""A service: store, consumers, endpoints and probes as one aiohttp application, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from eventcore.consumer import Consumer
from eventcore.envelope import EventClass
from eventcore.errors import SettingsError
from eventcore.pipe import WrongPassword
from eventcore.reporting import Reporter
from eventcore.retention import Retention
from eventcore.router import Router
from eventcore.settings import Settings
from eventcore.store import Store
from eventcore.telemetry.blocking import LoopWatch
from eventcore.telemetry.configure import start_metrics

from .api import Api
from .attending import attend
from .correlation import current_origin, tell
from .endpoint import body_limit
from .greeting import greet, wait_for_server
from .probes import add_probes

log = logging.getLogger(__name__)

Resource = Callable[[web.Application], AsyncIterator[None]]


@dataclass(slots=True)
class Service:
    """What runs beside the endpoints. `failed` is set when it can't go on, `failure` says why: the process must end."""

    name: str
    store: Store
    consumers: tuple[Consumer, ...]
    publishes: tuple[EventClass, ...] = ()
    description: str = ""
    draining: bool = False
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None
    _consuming: list[asyncio.Task[None]] = field(default_factory=list)
    _upkeep: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, *, greeted: bool) -> None:
        """Begin to consume, and to look after the streams. Needs no server yet; `greeted` says that one was there."""
        streams = sorted({stream for consumer in self.consumers for stream in consumer.member.main_streams})
        redriven = sorted({stream for consumer in self.consumers for stream in consumer.member.streams} - {*streams})
        self._upkeep.append(self._watched(Retention(self.store, streams, redriven=redriven).run(), "retention"))
        self._upkeep.append(self._watched(Reporter(self.store, streams).run(), "reporter"))
        if not greeted:
            self._upkeep.append(self._watched(wait_for_server(self.store), "wait-for-server"))
        self._consuming += [self._watched(each.run(), f"consume-{each.router.group}") for each in self.consumers]

    async def drain(self) -> None:
        """Stop to consume, finish what is in hand, leave the groups. Harmless when done twice."""
        self.draining = True
        for consumer in self.consumers:
            consumer.stop()
        if self._consuming:
            await asyncio.wait(self._consuming)
        while not all(task.done() for task in self._upkeep):
            # Again and again: before Python 3.12 `wait_for`, within redis-py, can swallow a cancellation (gh-86296).
            for task in self._upkeep:
                task.cancel()
            await asyncio.wait(self._upkeep, timeout=1)

    def _watched(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, WrongPassword | SettingsError):
            log.critical("%s ended by a defect", task.get_name(), exc_info=error)
        self.failure = self.failure or error
        self.failed.set()


STORE: web.AppKey[Store] = web.AppKey("STORE", Store)
SERVICE: web.AppKey[Service] = web.AppKey("SERVICE", Service)


def create_service(
    settings: Settings,
    *,
    name: str,
    routers: Callable[[Store], Sequence[Router]] | Sequence[Router] = (),
    api: Api | None = None,
    resources: Sequence[Resource] = (),
    store: Store | None = None,
    publishes: Sequence[EventClass] = (),
    description: str = "",
) -> web.Application:
    """Wire a service: store, consumers, endpoints, probes, metrics, correlation, errors as problems.

    `routers` are run by a consumer each; `resources` are aiohttp's cleanup contexts: up to its `yield` each starts
    something, after it it stops it again; `publishes` names the events for documents of the whole system. Start: the
    store, then the resources in order, then the consumers; a server that is not there yet is waited for, while
    readiness says so. Stop: the other way round. The application opens and closes its store, also one that was given
    to it. Starting raises `WrongPassword` or `SettingsError` where waiting for the server won't help.
    """
    store = store or Store(settings, source=name, origin=current_origin)
    chosen = routers(store) if callable(routers) else routers
    for router in chosen:
        if not router.handlers:
            raise TypeError(f"{router.group} has no handlers (yet): register them before the service is created")
    consumers = tuple(Consumer(store, router) for router in chosen)
    service = Service(name, store, consumers, tuple(publishes), description)
    api = api or Api()
    largest = max((endpoint.max_body for endpoint in api.endpoints), default=body_limit)
    app = web.Application(middlewares=[attend], client_max_size=largest)
    app[STORE], app[SERVICE] = store, service
    app.on_response_prepare.append(_completing(service))
    api.add_to(app)
    add_probes(app, service, api, description)
    app.cleanup_ctx.extend([_watch_loop(service, api), _open_store, *resources, _run_service])
    return app


def _watch_loop(service: Service, api: Api) -> Resource:
    """Notice what blocks the event loop; endpoints and handlers by what they are for."""
    functions: dict[str, Callable[..., Any]] = {
        f"{endpoint.method} {endpoint.path}": endpoint.function for endpoint in api.endpoints
    }
    for consumer in service.consumers:
        group, handlers = consumer.router.group, consumer.router.handlers
        functions |= {f"{group}'s handler of {kind}": handler.function for kind, handler in handlers.items()}
    loop_watch = LoopWatch(functions)

    async def watch(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(loop_watch.run(), name="event-loop-watch")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return watch


_GREETED = web.AppKey("GREETED", bool)


async def _open_store(app: web.Application) -> AsyncIterator[None]:
    store = app[STORE]
    start_metrics(app[SERVICE].name, store.settings)
    async with AsyncExitStack() as stack:
        stack.push_async_exit(store)
        app[_GREETED] = await greet(store)
        yield


async def _run_service(app: web.Application) -> AsyncIterator[None]:
    app[SERVICE].start(greeted=app[_GREETED])
    yield
    await app[SERVICE].drain()


def _completing(service: Service) -> Callable[[web.Request, web.StreamResponse], Coroutine[Any, Any, None]]:
    """A signal `on_response_prepare`: what every answer says, whoever has made it."""

    async def complete(request: web.Request, response: web.StreamResponse) -> None:
        tell(request, response)
        # Clients with lasting connections are sent elsewhere before they are cut off.
        if service.draining:
            response.headers["Connection"] = "close"
            response.force_close()

    return complete
