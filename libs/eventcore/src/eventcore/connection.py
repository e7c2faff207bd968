"""Making connections to Redis from settings: direct, with TLS, or through Sentinel; timeouts always finite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from redis.asyncio import ConnectionPool, Redis, Sentinel
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from .settings import Settings

# Long enough for one lost SYN, which is sent again after a second. Not longer: Kubernetes drops most of those for a
# Service without endpoints, and whoever still waits for one when Redis is back comes later than by trying again.
connect_seconds = 3.0
reply_seconds = 5.0
max_connections = 1000


class Connector:
    """Knows how to reach Redis: connections for pipes, and a plain client for everything that is not hot."""

    def __init__(self, settings: Settings, role: str = "eventcore") -> None:
        self._pool = _pool(settings, role)

    async def connect(self) -> AbstractConnection:
        """A new connection, authenticated and on its database. Raises redis-py's errors."""
        connection: AbstractConnection = self._pool.make_connection()
        await connection.connect()
        return connection

    def client(self) -> Redis:
        """A client for queries. It answers bytes, waits at most five seconds and repeats nothing by itself."""
        return Redis(connection_pool=self._pool)

    async def close(self) -> None:
        """Close what the pool holds, and the connections to Sentinel, of which redis-py leaves the care to us."""
        await self._pool.aclose()
        if isinstance(self._pool, SentinelConnectionPool):
            for sentinel in self._pool.sentinel_manager.sentinels:
                await sentinel.aclose()


class _Sentinels(Sentinel):
    """Says so where the Sentinels do not let us ask; to redis-py that is one of many reasons why there is no master."""

    def __init__(self, addresses: Iterable[tuple[str, int]], **options: Any) -> None:
        Sentinel.__init__(self, addresses, sentinel_kwargs=options)

    async def discover_master(self, service_name: str) -> Any:
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError as error:
            if str(error).count(AuthenticationError.__name__) < len(self.sentinels):
                raise
            raise AuthenticationError("the Sentinels want another REDIS_SENTINEL_PASSWORD") from error


def _pool(settings: Settings, role: str) -> ConnectionPool:
    url = settings.redis_url.get_secret_value()
    options: dict[str, Any] = {**parse_url(url), **_options(settings, role)}
    connection_class = options.pop("connection_class", Connection)
    if settings.redis_ca_file is not None and connection_class is SSLConnection:
        options["ssl_ca_certs"] = str(settings.redis_ca_file)
    if not settings.redis_sentinels:
        return ConnectionPool(connection_class, max_connections=max_connections, **options)
    for name in ("host", "port"):
        options.pop(name, None)
    secure = connection_class is SSLConnection
    managed = SentinelManagedSSLConnection if secure else SentinelManagedConnection
    same = ("protocol", "socket_timeout", "socket_connect_timeout", "retry", "ssl_ca_certs")
    asking = {name: options[name] for name in same if name in options}
    sentinel = _Sentinels(settings.redis_sentinels, **asking, ssl=secure, password=settings.sentinel_password)
    return SentinelConnectionPool(
        settings.redis_sentinel_master or "",
        sentinel,
        connection_class=managed,
        max_connections=max_connections,
        **options,
    )


def _options(settings: Settings, role: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": reply_seconds,
        "socket_keepalive": True,
        # redis-py would blindly send a write again whose reply was lost.
        "retry": Retry(NoBackoff(), 0),
        # Redis takes printable ASCII only, and no spaces.
        "client_name": re.sub(r"[^!-~]", "_", f"{role}:{settings.pod_name}"),
    }
    if settings.password is not None:
        options["password"] = settings.password
    return options
