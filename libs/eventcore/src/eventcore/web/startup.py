"""The first contact with Redis: is it there, does it take our credentials, does it meet the requirements."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from redis import exceptions as redis_errors

from eventcore.commit.store import Store
from eventcore.errors import SettingsError, Unavailable
from eventcore.server.pipe import WrongPassword

log = logging.getLogger(__name__)

# A server that is there answers at once; one that isn't must not hold up the HTTP server for longer.
GREETING_SECONDS = 1.0


async def greet(store: Store) -> bool:
    """Open the store; whether Redis is there already and meets the requirements.

    Raises `WrongPassword` or `SettingsError` where waiting won't help, before anything else starts.
    """
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            await store.redis.ping()
    except redis_errors.AuthenticationError as error:
        raise wrong_password(store, error) from error
    except redis_errors.ResponseError as error:
        if "DB index" not in str(error):  # the answer to SELECT; all else (LOADING, for one) may pass
            await store.__aenter__()
            return False
        raise SettingsError(f"REDIS_URL: Redis at {store.settings.redis_address} says: {error}") from error
    except (redis_errors.RedisError, OSError, TimeoutError):
        await store.__aenter__()
        return False
    await store.__aenter__()
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            await store.check_server()
        await store.check_durability()  # takes seconds where the server syncs once a second
    except (Unavailable, TimeoutError):
        return False
    return True


async def wait_for_server(store: Store) -> None:
    """Return once the server is there, however long it takes. Raises as `greet` does."""
    address = {"address": store.settings.redis_address}
    log.warning("waiting for Redis at %(address)s", address)
    while True:
        try:
            await store.commands.wait_connected(timedelta(seconds=0.25))
            await store.check_server()
            await store.check_durability()
        except Unavailable:
            await asyncio.sleep(0.25)
            continue
        except WrongPassword as error:
            raise wrong_password(store, error) from error
        log.info("Redis at %(address)s is there", address)
        return


def wrong_password(store: Store, error: Exception) -> WrongPassword:
    """The same error, naming the settings to correct."""
    if str(error).startswith("REDIS_URL"):
        return WrongPassword(str(error))
    reason = str(error).removeprefix("Redis refuses our credentials: ")
    return WrongPassword(
        f"REDIS_URL, REDIS_PASSWORD: Redis at {store.settings.redis_address} refuses our credentials: {reason}"
    )
