"""What the inventory's tests share: the service on a real server, called over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from eventcore import Settings, Store
from inventory_service.app import create_app
from inventory_service.settings import InventorySettings
from libs.contracts.tests.calling import Caller


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("stock", "stock:index")


@pytest_asyncio.fixture
async def call(settings: Settings, store: Store) -> AsyncIterator[Caller]:
    """The running service. It depends on `store` so that leaks are looked for once it has stopped."""
    app = create_app(InventorySettings(**dict(settings)))
    async with TestClient(TestServer(app)) as client:
        yield await Caller.of(client)
