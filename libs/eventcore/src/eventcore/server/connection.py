"""Making connections to Redis from settings: direct, with TLS, or through Sentinel; timeouts always finite."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from eventcore.settings import Settings

from .sentinels import Sentinels

# Long enough for one lost SYN, which is sent again after a second. Not longer: Kubernetes drops most of those for a
# Service without endpoints, and whoever still waits for one when Redis is back comes later than by trying again.
CONNECT_SECONDS = 3.0
REPLY_SECONDS = 5.0
MAX_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where a connection leads: the address, and which server answered there, as far as it says so."""

    address: str
    run_id: str = ""

    def is_same(self, other: ServerPlace) -> bool:
        """Whether both are one server, as far as can be told."""
        known = self.run_id and other.run_id
        return self.address == other.address and (not known or self.run_id == other.run_id)

    def __str__(self) -> str:
        return f"{self.address} ({self.run_id[:8]})" if self.run_id else self.address


class Connector:
    """Knows how to reach Redis: connections for pipes, and a plain client for everything that is not hot."""

    def __init__(self, settings: Settings, role: str = "eventcore") -> None:
        self._pool = _pool(settings, role)
        self._made: dict[asyncio.Transport, ServerPlace] = {}

    @property
    def by_sentinel(self) -> bool:
        """Whether Sentinels are asked where the master is."""
        return isinstance(self._pool, SentinelConnectionPool)

    async def connect(self) -> AbstractConnection:
        """A new connection, authenticated and on its database. Raises redis-py's errors."""
        connection, place = await self._connect()
        transport: asyncio.Transport = connection._writer.transport
        self._made = {each: where for each, where in self._made.items() if not each.is_closing()}
        self._made[transport] = place
        made: AbstractConnection = connection
        return made

    async def _connect(self) -> tuple[Any, ServerPlace]:
        connection: Any = self._pool.make_connection()
        try:
            await connection.connect()
            if self.by_sentinel:
                return connection, ServerPlace(f"{connection.host}:{connection.port}")
            return connection, ServerPlace(_peer(connection), await _run_id(connection))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def client(self) -> Redis:
        """A client for queries. It answers bytes, waits at most five seconds and repeats nothing by itself."""
        return Redis(connection_pool=self._pool)

    async def whereabouts(self) -> ServerPlace | None:
        """Where a new connection would lead now; `None` where that can't be told. Raises redis-py's errors."""
        if isinstance(self._pool, SentinelConnectionPool):
            answer = await cast(Sentinels, self._pool.sentinel_manager).answer(self._pool.service_name)
            return None if answer is None else ServerPlace("{}:{}".format(*answer.address))
        connection, place = await self._connect()
        await connection.disconnect()
        return place

    @property
    def silence(self) -> str | None:
        """How many Sentinels did not answer when asked last, if it was half of them or more: a failover takes most."""
        if not isinstance(self._pool, SentinelConnectionPool):
            return None
        sentinels = cast(Sentinels, self._pool.sentinel_manager)
        heard, known = sentinels.heard, len(sentinels.sentinels)
        return f"{heard} of {known} answer" if heard <= known / 2 else None

    def places(self) -> set[ServerPlace]:
        """Where the connections made for pipes lead, those that live."""
        return {place for transport, place in self._made.items() if not transport.is_closing()}

    async def leave(self, places: Collection[ServerPlace]) -> None:
        """Close the connections that lead there, and those of the client: they are made anew."""
        for transport, place in self._made.items():
            if place in places:
                transport.abort()
        await self._pool.disconnect()

    async def close(self) -> None:
        """Close what the pool holds, and the connections to Sentinel, of which redis-py leaves the care to us."""
        await self._pool.aclose()
        if isinstance(self._pool, SentinelConnectionPool):
            await self._pool.sentinel_manager.aclose()


def _peer(connection: Any) -> str:
    host, port = connection._writer.get_extra_info("peername")[:2]
    return f"{host}:{port}"


async def _run_id(connection: Any) -> str:
    """Which server this is; empty where it doesn't say."""
    await connection.send_command("INFO", "server")
    try:
        report: bytes = await connection.read_response()
    except ResponseError:  # not allowed
        return ""
    found = re.search(rb"run_id:(\w+)", report)
    return found[1].decode() if found else ""


async def _introduce(connection: AbstractConnection) -> None:
    """Say who we are. The connection's name is for people who look at `CLIENT LIST`: some users may not give one."""
    name, connection.client_name = connection.client_name, None
    await connection.on_connect()
    connection.client_name = name
    with suppress(ResponseError):
        await connection.send_command("CLIENT", "SETNAME", name)
        await connection.read_response()


def _pool(settings: Settings, role: str) -> ConnectionPool:
    url = settings.url
    options: dict[str, Any] = {**parse_url(url), **_options(settings, role)}
    connection_class = options.pop("connection_class", Connection)
    if settings.redis_ca_file is not None and connection_class is SSLConnection:
        options["ssl_ca_certs"] = str(settings.redis_ca_file)
    if not settings.redis_sentinels:
        return ConnectionPool(connection_class, max_connections=MAX_CONNECTIONS, **options)
    for name in ("host", "port"):
        options.pop(name, None)
    secure = connection_class is SSLConnection
    managed = SentinelManagedSSLConnection if secure else SentinelManagedConnection
    same = ("protocol", "socket_timeout", "socket_connect_timeout", "retry", "ssl_ca_certs")
    asking = {name: options[name] for name in same if name in options}
    sentinel = Sentinels(settings.redis_sentinels, **asking, ssl=secure, password=settings.sentinel_password)
    return SentinelConnectionPool(
        settings.redis_sentinel_master or "",
        sentinel,
        connection_class=managed,
        max_connections=MAX_CONNECTIONS,
        **options,
    )


def _options(settings: Settings, role: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "socket_keepalive": True,
        # redis-py would blindly send a write again whose reply was lost.
        "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": _introduce,
        # Redis takes printable ASCII only, and no spaces.
        "client_name": re.sub(r"[^!-~]", "_", f"{role}:{settings.pod_name}"),
    }
    if settings.password is not None:
        options["password"] = settings.password
    return options
