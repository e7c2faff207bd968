"""The order service, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from contracts import OrderCancelled, OrderCreated
from eventcore import Store
from eventcore.web import STORE, create_service, current_origin

from .api import ORDERS, SETTINGS, api
from .domain.order import index, order
from .domain.placing import receipt
from .domain.status import OrderStatus
from .handlers import order_router
from .housekeeping import keep_house
from .orders import Orders
from .settings import OrderSettings

NAME = "order-service"


def create_app(settings: OrderSettings) -> web.Application:
    """The order service: serves HTTP, and consumes `inventory_stream` as `order-group`."""
    store = Store(
        settings,
        source=NAME,
        origin=current_origin,
        durability=settings.order_durability,
        replicas=settings.order_durability_replicas,
        unproven=settings.order_durability_check,
    )
    app = create_service(
        settings,
        name=NAME,
        routers=[order_router(settings)],
        api=api,
        resources=[_housekeeping],
        store=store,
        publishes=[OrderCreated, OrderCancelled],
        keeps=[order("*"), *map(index, OrderStatus), receipt("*")],
        description="Accepts orders and follows each to its end.",
    )
    app[SETTINGS], app[ORDERS] = settings, Orders(app[STORE], settings.keep)
    return app


async def _housekeeping(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_house(app[ORDERS]), name="housekeeping")
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
