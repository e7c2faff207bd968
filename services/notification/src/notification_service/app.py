"""The notification service, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from eventcore import Router, Store
from eventcore.web import create_service

from .api import api
from .delivering import Courier
from .handlers import notification_router
from .settings import NotificationSettings


def create_app(settings: NotificationSettings) -> web.Application:
    """The notification service: serves HTTP, and consumes `inventory_stream` as `notification-group`."""
    channels = settings.channels()

    def routers(store: Store) -> list[Router]:
        return [notification_router(Courier(store, channels, settings.keep), attempts=settings.retry_attempts)]

    async def close_channels(app: web.Application) -> AsyncIterator[None]:
        yield
        await asyncio.gather(*(channel.close() for channel in channels))

    return create_service(
        settings,
        name="notification-service",
        routers=routers,
        api=api,
        resources=[close_channels],
        description="Tells customers what became of their orders.",
    )
