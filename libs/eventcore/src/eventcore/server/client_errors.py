"""What redis-py raises where the server can't be reached or refuses to run a command, in our own words."""

from __future__ import annotations

from redis import exceptions as redis_errors

from eventcore.errors import Forbidden, Unavailable

# Some codes have no class of their own.
_AWAY = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.TryAgainError,
    redis_errors.AskError,  # and MovedError: another node of the Cluster has it
)
_NOT_NOW = ("BUSY ", "LOADING ", "MISCONF ", "NOREPLICAS ", "OOM ", "READONLY ")


def as_unavailable(error: BaseException) -> Unavailable | None:
    """The same said by us; `None` for every error that waiting does not mend."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, redis_errors.NoPermissionError):
        return Forbidden(str(error))
    if isinstance(error, _AWAY) or (isinstance(error, redis_errors.RedisError) and str(error).startswith(_NOT_NOW)):
        return Unavailable(str(error))
    return None
