"""The notification service, wired."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from eventcore import Router, Store
from eventcore.web import create_service

from .api import ODD, api
from .channels.protected import ProtectedChannel
from .domain.measures import receivers_down
from .domain.record import odd_records, records_of
from .handlers import notification_router
from .notifier import Notifier
from .settings import NotificationSettings

log = logging.getLogger(__name__)

# Receivers that hang must not keep the process from ending in time.
CLOSING = timedelta(seconds=2)


def create_app(settings: NotificationSettings) -> web.Application:
    """The notification service: serves HTTP, and consumes `inventory_stream` as `notification-group`."""
    channels = settings.channels()

    def routers(store: Store) -> list[Router]:
        notifier = Notifier(store, channels, settings.keep)
        attempts, give_up_after = settings.retry_attempts, settings.give_up_after
        return [notification_router(notifier, attempts=attempts, give_up_after=give_up_after)]

    async def use_channels(app: web.Application) -> AsyncIterator[None]:
        if settings.caution:
            log.warning("signatures of webhooks may be forged: %(reason)s", {"reason": settings.caution})
        protected = [channel for channel in channels if isinstance(channel, ProtectedChannel)]
        forget = receivers_down.watch(lambda: {(each.name,): int(each.is_down) for each in protected})
        yield
        forget()
        await asyncio.wait(
            [asyncio.create_task(channel.close()) for channel in channels], timeout=CLOSING.total_seconds()
        )

    app = create_service(
        settings,
        name="notification-service",
        routers=routers,
        api=api,
        resources=[use_channels],
        keeps=[records_of("*")],
        description="Tells customers what became of their orders.",
    )
    app[ODD] = odd_records()
    return app
