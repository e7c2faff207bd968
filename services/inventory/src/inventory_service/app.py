"""The inventory service, wired."""

from __future__ import annotations

from aiohttp import web

from contracts import InventoryRejected, InventoryReleased, InventoryReserved
from eventcore.web import STORE, create_service

from .api import INVENTORY, api
from .domain.reservation import reservation
from .domain.stock import stock, stock_index
from .handlers import inventory_router
from .inventory import Inventory
from .settings import InventorySettings


def create_app(settings: InventorySettings) -> web.Application:
    """The inventory service: serves HTTP, and consumes `orders_stream` as `inventory-group`."""
    app = create_service(
        settings,
        name="inventory-service",
        routers=[inventory_router(settings)],
        api=api,
        publishes=[InventoryReserved, InventoryRejected, InventoryReleased],
        keeps=[stock, stock_index, reservation("*")],
        description="Keeps the stock and reserves it for orders.",
    )
    app[INVENTORY] = Inventory(app[STORE])
    return app
