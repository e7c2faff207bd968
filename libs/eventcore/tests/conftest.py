"""What the tests of eventcore share: its own fixtures, as its users have them."""

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
