"""A service: what runs beside its endpoints, started, watched, and stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from eventcore.commit.store import Store
from eventcore.consume.consumer import Consumer
from eventcore.errors import SettingsError
from eventcore.events.envelope import EventClass
from eventcore.operate.access import Activity, Kept
from eventcore.operate.reporting import Reporter
from eventcore.operate.retention import Retention
from eventcore.server.pipe import WrongPassword

from .ending import Ending
from .startup import wait_for_server, wrong_password

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Service:
    """What runs beside the endpoints. `failed` is set when it can't go on, `failure` says why: the process must end."""

    name: str
    store: Store
    consumers: tuple[Consumer, ...]
    publishes: tuple[EventClass, ...] = ()
    keeps: tuple[Kept, ...] = ()
    description: str = ""
    greeted: bool = False
    draining: bool = False
    ending: Ending = field(default_factory=lambda: Ending(0))
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None
    _consuming: list[asyncio.Task[None]] = field(default_factory=list)
    _upkeep: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def activity(self) -> Activity:
        """What it does on the server."""
        return Activity(
            self.name,
            {each.router.group: each.member.main_streams for each in self.consumers},
            frozenset(event.stream for event in self.publishes),
            self.keeps,
            self.store.durability,
            drops_groups=self.store.settings.drop_groups_idle_seconds is not None,
        )

    def start(self, *, greeted: bool) -> None:
        """Start consumers, retention and reporting. Redis may still be away; `greeted` says whether it was there."""
        streams = sorted({stream for consumer in self.consumers for stream in consumer.member.main_streams})
        redriven = sorted({stream for consumer in self.consumers for stream in consumer.member.streams} - {*streams})
        self.store.refusals.expect(("XADD", self.store.key(event.stream)) for event in self.publishes)
        self._upkeep.append(self._watched(Retention(self.store, streams, redriven=redriven).run(), "retention"))
        self._upkeep.append(self._watched(Reporter(self.store, streams).run(), "reporter"))
        self.greeted = greeted
        if not greeted:
            self._upkeep.append(self._watched(self._greet(), "wait-for-server"))
        self._consuming += [self._watched(each.run(), f"consume-{each.router.group}") for each in self.consumers]

    async def _greet(self) -> None:
        await wait_for_server(self.store)
        self.greeted = True

    async def drain(self) -> None:
        """Stop the consumers: they finish what is in hand and leave their groups. Harmless when done twice."""
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
            log.critical("%(task)s ended by a defect: stopping", {"task": task.get_name()}, exc_info=error)
        if isinstance(error, WrongPassword):
            error = wrong_password(self.store, error)
        self.failure = self.failure or error
        self.failed.set()


STORE: web.AppKey[Store] = web.AppKey("STORE", Store)
SERVICE: web.AppKey[Service] = web.AppKey("SERVICE", Service)
# What the management port serves, where there is one.
MANAGEMENT: web.AppKey[web.Application] = web.AppKey("MANAGEMENT", web.Application)
