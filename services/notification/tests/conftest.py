"""What the notification service's tests share: fixtures, and channels that do as they are told."""

from __future__ import annotations

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
