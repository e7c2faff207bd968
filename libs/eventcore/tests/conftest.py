"""What the tests of eventcore share: its own fixtures, as its users have them, and one server for programs."""

from collections.abc import Callable

import pytest
import redis

from eventcore.testing import Kind, Server, available_kinds
from eventcore.testing.fixtures import (
    connect,
    permanent_keys,
    redis_server,
    running_servers,
    server_kind,
    settings,
    start_server,
    store,
)

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


@pytest.fixture
def any_server(running_servers: Callable[[Kind], Server]) -> Server:
    """A server of one kind, empty: for what does not depend on the kind, and takes a process."""
    server = running_servers(available_kinds()[0])
    with redis.Redis.from_url(server.url) as connected:
        connected.flushall()
    return server
