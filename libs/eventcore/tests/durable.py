"""Stores that promise durability, and servers for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eventcore import Hash, Settings, Store, Transaction
from eventcore.commit.durability import Durability
from eventcore.testing.server import Server, available_kinds

DISK, REPLICA = Durability.DISK, Durability.REPLICA
EVERY_SECOND = {"appendfsync": "everysec"}
PLACE = Hash("h")

# WAITAOF came with Redis 7.2; the `redis` of a distribution may be older.
with_waitaof = pytest.mark.parametrize("kind", [kind for kind in available_kinds() if kind != "redis"])


@asynccontextmanager
async def durable(url: str | Server, durability: Durability, **more: Any) -> AsyncIterator[Store]:
    """A store on a server, or at an address."""
    settings = Settings(redis_url=url.url if isinstance(url, Server) else url)
    async with Store(settings, source="test", durability=durability, **more) as store:
        yield store


def write(value: int) -> Transaction:
    """Put this value where the last one was."""
    return Transaction(then=[PLACE["value"].set(value)])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells when it changes
            await asyncio.sleep(0.02)


async def until_told(asked: Callable[[], Awaitable[Any]]) -> None:
    """Wait until a server says yes."""
    async with asyncio.timeout(30):
        while not await asked():  # noqa: ASYNC110 - nobody tells when it changes
            await asyncio.sleep(0.02)


async def a_user(server: Server, *rules: str) -> str:
    """The address for a user who may do everything but what these rules take away."""
    async with durable(server, Durability.MEMORY) as store:
        rights = ("on", ">pw", "~*", "&*", "+@all", *rules)
        await store.redis.execute_command("ACL", "SETUSER", "restricted", "reset", *rights)
    return f"redis://restricted:pw@127.0.0.1:{server.port}/0"
