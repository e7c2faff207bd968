"""Creating a service: store, consumers, endpoints and probes as one aiohttp application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from eventcore.commit.store import Store
from eventcore.consume.consumer import Consumer
from eventcore.consume.router import Router
from eventcore.events.envelope import EventClass
from eventcore.operate.access import Kept
from eventcore.settings import Settings
from eventcore.telemetry.blocking import LoopWatch
from eventcore.telemetry.configure import start_metrics

from .api import Api
from .clients import CLIENTS, Clients
from .correlation import current_origin, tell
from .ending import TELEMETRY_SECONDS
from .endpoint import BODY_LIMIT
from .middleware import attend
from .probes import add_probes
from .rates import limit_rates
from .scopes import AUTHORITY
from .service import MANAGEMENT, SERVICE, STORE, Service
from .startup import greet

log = logging.getLogger(__name__)

# What a resource may take to close where there is time.
LONGEST_CLOSING_SECONDS = 10.0

Resource = Callable[[web.Application], AsyncIterator[None]]


def create_service(  # noqa: PLR0913 - the one place where all that makes a service comes together
    settings: Settings,
    *,
    name: str,
    routers: Callable[[Store], Sequence[Router]] | Sequence[Router] = (),
    api: Api | None = None,
    resources: Sequence[Resource] = (),
    store: Store | None = None,
    publishes: Sequence[EventClass] = (),
    keeps: Sequence[Kept] = (),
    description: str = "",
) -> web.Application:
    """Wire a service: store, consumers, endpoints, probes, metrics, correlation, errors as problems.

    `routers` are run by one consumer for each group; `resources` are aiohttp's cleanup contexts: up to its `yield` each
    starts something, after it it stops it again; `publishes` names the events for documents of the whole system and for
    its Redis user, `keeps` where it has its records, for the same (`eventcore acl`; in a key, `*` stands for anything).
    Start: the store, then the resources in order, then the consumers; a server that is not there yet is waited for,
    while readiness says so. Stop: the other way round. The application opens and closes its store, also one that was
    given to it. Starting raises `WrongPassword` or `SettingsError` where waiting for the server won't help. With
    `MANAGEMENT_PORT` the probes are in an application of their own, `app[MANAGEMENT]`, which `run` serves there.
    """
    store = store or Store(settings, source=name, origin=current_origin)
    chosen = routers(store) if callable(routers) else routers
    groups = dict.fromkeys(router.group for router in chosen)
    consumers = tuple(Consumer(store, *(each for each in chosen if each.group == group)) for group in groups)
    service = Service(name, store, consumers, tuple(publishes), tuple(keeps), description)
    api = api or Api()
    largest = max((endpoint.max_body for endpoint in api.endpoints), default=BODY_LIMIT)
    app = web.Application(middlewares=[attend], client_max_size=largest)
    if store.settings.auth_jwks:
        from .tokens import check_tokens  # only here: what it takes to check signatures is large

        check_tokens(app, store.settings)
    limit_rates(app, store.settings)
    app[STORE], app[SERVICE], app[CLIENTS] = store, service, Clients(store.settings)
    app.on_response_prepare.append(_completing(service))
    api.add_to(app)
    probed = app
    if store.settings.management_port is not None:
        probed = app[MANAGEMENT] = _for_management(service)
    add_probes(probed, service, api, description)
    resources = [_watch_loop(service, api), _watch_clients, _open_store, *resources, _run_service]
    app.cleanup_ctx.extend(map(_ending_in_time, resources))
    return app


def _for_management(service: Service) -> web.Application:
    """An application for the probes alone: it shares neither middlewares nor limits with the API's."""
    app = web.Application(middlewares=[attend])
    app[SERVICE], app[CLIENTS] = service, Clients(service.store.settings)
    app.on_response_prepare.append(_completing(service))
    app.cleanup_ctx.append(_ending_in_time(_watch_clients))
    return app


def _ending_in_time(resource: Resource) -> Resource:
    """The same, but the end of a service does not wait for it longer than there is time."""

    async def bounded(app: web.Application) -> AsyncIterator[None]:
        made = resource(app)
        context = made if isinstance(made, AbstractAsyncContextManager) else asynccontextmanager(lambda: made)()
        await context.__aenter__()
        yield
        ending = app[SERVICE].ending
        seconds = ending.left(reserve=TELEMETRY_SECONDS, most=LONGEST_CLOSING_SECONDS)
        async with ending.within(seconds, getattr(resource, "__qualname__", "a resource")):
            await context.__aexit__(None, None, None)

    return bounded


def _watch_loop(service: Service, api: Api) -> Resource:
    """Watch what blocks the event loop, and name endpoints and handlers in the log."""
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


async def _watch_clients(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[CLIENTS].watch(), name="clients")
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


_GREETED = web.AppKey("GREETED", bool)


async def _open_store(app: web.Application) -> AsyncIterator[None]:
    store = app[STORE]
    start_metrics(app[SERVICE].name, store.settings)
    async with AsyncExitStack() as stack:
        stack.push_async_exit(store)
        app[_GREETED] = await greet(store)
        if AUTHORITY not in app:  # after the greeting: a service that ends there says so in one line
            log.info("AUTH_JWKS is not set: requests need no token, and every client may do everything")
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
