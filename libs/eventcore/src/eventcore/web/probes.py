"""Probes: is it alive, is it ready, what does it measure, what does it offer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web
from pydantic import BaseModel

from eventcore.errors import EventcoreError, Forbidden
from eventcore.telemetry.configure import SCRAPE_TYPE, scrape

from . import openapi
from .api import Api
from .docs import docs_page
from .problems import Problem
from .service import Service

# A consumer's loops turn every two seconds; where Redis is silent, a read and two pauses may take seventeen.
ALIVE_SECONDS = 20.0
# Probes wait for about as long.
READY_SECONDS = 1.0


class ProbeStatus(BaseModel):
    """All is well."""

    status: str


def add_probes(app: web.Application, service: Service, api: Api, description: str) -> None:
    """Serve the probes from `app`, and a document of all that the API's port serves, in two forms."""
    probes = Api()

    @probes.get("/livez", answers={200: ProbeStatus}, errors=(503,))
    async def livez(request: web.Request) -> ProbeStatus:
        """Say whether the loops of this process turn. Redis is not asked."""
        if loop := stuck(service):
            raise Problem(503, detail=loop)
        return ProbeStatus(status="alive")

    @probes.get("/readyz", answers={200: ProbeStatus}, errors=(503,))
    async def readyz(request: web.Request) -> ProbeStatus:
        """Say whether this process can do its work now, or why not.

        `shared` of the problem is true where the reason is Redis, which all replicas share, false where it is this
        process alone, and left out where it may be either.
        """
        if obstacle := await find_obstacle(service):
            raise Problem(503, detail=obstacle.reason, shared=obstacle.shared)
        return ProbeStatus(status="ready")

    @probes.get("/metrics", answers={200: "text/plain"})
    async def metrics(request: web.Request) -> web.Response:
        """Show all metrics in the Prometheus text format."""
        return web.Response(body=scrape(), headers={"Content-Type": SCRAPE_TYPE})

    @probes.get("/openapi.json", answers={200: "application/json"})
    async def openapi_document(request: web.Request) -> web.Response:
        """Show this document."""
        return web.Response(body=document, content_type="application/json")

    @probes.get("/docs", answers={200: "text/html"})
    async def docs(request: web.Request) -> web.Response:
        """Show this document to people."""
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return web.Response(text=shown, content_type="text/html", headers=policy)

    probes.add_to(app)
    settings = service.store.settings
    apart = settings.management_port is not None
    content = openapi.openapi_document(
        api.endpoints if apart else [*api.endpoints, *probes.endpoints],
        title=service.name,
        description=description,
        secured=settings.auth_jwks is not None,
    )
    document, shown = openapi.document_bytes(content), docs_page(content)


def stuck(service: Service) -> str | None:
    """A group whose consumer loops are stuck, if any. The event loop itself runs, or this would not."""
    for consumer in service.consumers:
        silence = time.monotonic() - consumer.turned_at
        if silence > ALIVE_SECONDS and not consumer.draining:
            return f"{consumer.router.group} has not turned for {silence:.0f} s"
    return None


class Obstacle(NamedTuple):
    """Why a process can't do its work; `shared` with all replicas or not, `None` where that can't be told."""

    reason: str
    shared: bool | None


async def not_ready(service: Service) -> str | None:
    """Why this process can't do its work now; `None` when it can."""
    obstacle = await find_obstacle(service)
    return None if obstacle is None else obstacle.reason


async def find_obstacle(service: Service) -> Obstacle | None:
    """What keeps this process from its work now: it is ending, Redis fails, or a consumer is held up."""
    if service.draining:
        return Obstacle("draining", shared=False)
    if service.failure is not None:
        return Obstacle(f"about to end: {service.failure}", shared=False)
    if reason := await _trouble_with_redis(service):
        return Obstacle(reason, shared=True)
    halted = next((consumer.problem for consumer in service.consumers if consumer.problem), None)
    return None if halted is None else Obstacle(halted, shared=None)


async def _trouble_with_redis(service: Service) -> str | None:
    store = service.store
    if (failure := store.commands.failure) is not None:
        return f"Redis at {store.settings.redis_address} is out of reach: {failure}"
    try:
        async with asyncio.timeout(READY_SECONDS):
            with suppress(Forbidden):  # an answer, too
                await store.commands.execute("PING")
            if refused := await store.refusals.still():
                return refused
            for consumer in service.consumers:
                if consumer.problem is None and not await consumer.member.exists():
                    return f"{consumer.router.group} does not exist (any more)"
    except TimeoutError:
        return f"Redis at {store.settings.redis_address} did not answer within {READY_SECONDS:g} s"
    except EventcoreError as error:
        return str(error)
    if not service.greeted:
        return f"what Redis at {store.settings.redis_address} is like is not known yet"
    return store.durability_problem
