"""A Redis user with fewer rights than all, for tests of what happens where one is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from eventcore import Settings

USER = "restricted"


async def restrict(redis: Any, *rules: str) -> None:
    """Let the user do everything but what these rules of `ACL SETUSER` take away; connections stay."""
    rights = ("reset", "on", ">secret", "~*", "&*", "+@all", *rules)
    await redis.execute_command("ACL", "SETUSER", USER, *rights)


async def grant(redis: Any) -> None:
    """Let the user do everything."""
    await restrict(redis)


@asynccontextmanager
async def restricted(redis: Any, settings: Settings) -> AsyncIterator[SecretStr]:
    """The address for a user who may do everything yet; the user is gone afterwards."""
    await grant(redis)
    yield SecretStr(settings.url.replace("//", f"//{USER}:secret@"))
    await redis.execute_command("ACL", "DELUSER", USER)
