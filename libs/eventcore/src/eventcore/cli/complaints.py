"""What went wrong, as the one line that an operator reads."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence

from redis import exceptions as redis_errors
from redis.asyncio.sentinel import MasterNotFoundError

from eventcore.errors import EventcoreError
from eventcore.operate.inspection import WrongType

OUT_OF_REACH = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)


class ToolFailure(Exception):
    """The command can't do what it was asked to; the message is one line for the operator. Exit status 1."""


def explain_error(error: Exception, address: str) -> str:
    """One line for an error that ended a command; `address` says where Redis is."""
    if isinstance(error, ToolFailure | EventcoreError | WrongType):
        return str(error)
    for kind, words in _KINDS:
        if isinstance(error, kind):
            return f"Redis at {address} {words(error)}"
    return f"internal error, please report it: {type(error).__name__}: {error} (LOG_LEVEL=DEBUG shows more)"


def _login(error: Exception) -> str:
    if "SENTINEL" in str(error):
        return f"is not known: {error}"
    if "NOAUTH" in str(error) or "required" in str(error):
        return "asks for a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE"
    return "does not accept this user or password"


def _no_master(error: Exception) -> str:
    """redis-py puts every Sentinel that failed, with all its settings, behind a colon."""
    unreachable = " : " in str(error)
    return "is not known: " + ("no Sentinel answers" if unreachable else "the Sentinels have no master of that name")


def _reason(error: Exception) -> str:
    """The system's own words, where redis-py puts them after the address, which was already said."""
    message = str(error) or type(error).__name__
    if wrapped := re.search(r"\(\d+, '([^']+)'\)$", message):
        return wrapped[1]
    number = re.match(r"Error (\d+) connecting to", message)
    if number is not None and int(number[1]) in errno.errorcode and "SSL" not in message:
        return os.strerror(int(number[1]))
    return message.partition(". ")[2] or message if message.startswith("Error ") else message


# The first that fits: redis-py's subclasses come before their bases.
_KINDS: Sequence[tuple[type[Exception], Callable[[Exception], str]]] = (
    (redis_errors.AuthenticationError, _login),
    (MasterNotFoundError, _no_master),
    (redis_errors.NoPermissionError, lambda error: f"does not allow this: {error}"),
    (redis_errors.BusyLoadingError, lambda _: "is loading its data: try again shortly"),
    (redis_errors.TimeoutError, lambda _: "does not answer"),
    (redis_errors.ConnectionError, lambda error: f"is out of reach: {_reason(error)}"),
    (OSError, lambda error: f"is out of reach: {_reason(error)}"),
    (redis_errors.RedisError, lambda error: f"refused: {error}"),
)
