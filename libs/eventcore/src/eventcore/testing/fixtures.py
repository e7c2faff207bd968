"""Fixtures for pytest: a real server, emptied before each test; settings; stores. Tests run on every kind of server.

In the topmost `conftest.py`:

    pytest_plugins = ("eventcore.testing.fixtures",)

or, in a `conftest.py` further down, `from eventcore.testing.fixtures import connect, ...` with every name in `__all__`.
`EVENTCORE_TEST_SERVERS=valkey` (or `redis`, or `valkey,redis`) chooses the kinds; without it all that are installed are
used. `EVENTCORE_TEST_SERVER_BINARY=/opt/redis-8.2/bin/redis-server` adds a kind `other`.
A test that uses `store` fails when it leaves a key behind that lives for ever; see `permanent_keys`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, cast, get_args

import pytest
import pytest_asyncio
import redis

from eventcore.commit.store import Store
from eventcore.settings import Settings

from .leaks import leaked_keys
from .server import Server, ServerKind, available_kinds

__all__ = [
    "connect",
    "permanent_keys",
    "redis_server",
    "running_servers",
    "server_kind",
    "settings",
    "start_server",
    "store",
]

VARIABLE = "EVENTCORE_TEST_SERVERS"

Connect = Callable[..., Awaitable[Store]]
StartServer = Callable[..., Server]


def chosen_kinds() -> tuple[ServerKind, ...]:
    """The kinds of server to run tests on. Raises `pytest.UsageError` for a kind that can't be started here."""
    available = available_kinds()
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return available
    kinds = tuple(kind.strip() for kind in wanted.split(","))
    for kind in kinds:
        if kind not in get_args(ServerKind):
            raise pytest.UsageError(f"{VARIABLE}: {kind!r} is none of {', '.join(get_args(ServerKind))}")
        if kind not in available:
            raise pytest.UsageError(f"{VARIABLE}: {kind} is not installed")
    return cast("tuple[ServerKind, ...]", kinds)


@pytest.fixture(params=chosen_kinds())
def server_kind(request: pytest.FixtureRequest) -> ServerKind:
    """The kind of server that the test runs on."""
    kind: ServerKind = request.param
    return kind


@pytest.fixture(scope="session")
def running_servers() -> Iterator[Callable[[ServerKind], Server]]:
    """The shared server of each kind: started at its first use, emptied at each."""
    servers: dict[ServerKind, tuple[Server, redis.Redis]] = {}
    with ExitStack() as stack:

        def of_kind(kind: ServerKind) -> Server:
            if kind not in servers:
                server = stack.enter_context(Server(kind=kind))
                servers[kind] = server, stack.enter_context(redis.Redis.from_url(server.url))
            server, client = servers[kind]
            client.flushall()
            return server

        yield of_kind


@pytest.fixture
def redis_server(server_kind: ServerKind, running_servers: Callable[[ServerKind], Server]) -> Server:
    """The shared server, empty. Don't stop, fill or configure it: `start_server` gives you one that you may."""
    return running_servers(server_kind)


@pytest.fixture
def start_server(server_kind: ServerKind) -> Iterator[StartServer]:
    """Start a server for this test alone: `start_server(maxmemory="64mb")`, with the arguments of `Server`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Server(kind=server_kind, **options))


@pytest.fixture
def settings(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for the shared server, untouched by the environment, with heartbeats that make takeovers quick."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return Settings(redis_url=redis_server.url, pod_name="pod-1", heartbeat_seconds=0.1, dead_after_seconds=0.8)


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    """Patterns of keys that may live for ever. Override it in a `conftest.py` or module to declare a service's own."""
    return ()


@pytest_asyncio.fixture
async def connect(settings: Settings) -> AsyncIterator[Connect]:
    """A function that opens another store: with `pod_name="pod-2"`, a second pod. All are closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_store(*, source: str = "test", **changed: Any) -> Store:
            return await stack.enter_async_context(Store(settings.model_copy(update=changed), source=source))

        yield open_store


@pytest_asyncio.fixture
async def store(connect: Connect, permanent_keys: tuple[str, ...]) -> AsyncIterator[Store]:
    """A store on the shared server. After the test no key may be left that lives for ever (see `permanent_keys`)."""
    opened = await connect()
    yield opened
    leaked = await leaked_keys(opened, permanent_keys)
    assert not leaked, f"keys without a time to live: {', '.join(leaked)}; add TTLs, or declare them permanent"
