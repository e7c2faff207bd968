"""For the tests of services and of the library itself: a real server, waiting without sleeping, and a check for leaks.

    from eventcore.testing import Server, run_until_idle

    with Server() as server:                     # a Valkey of our own on a free port
        async with Store(Settings(redis_url=server.url), source="test") as store:
            await store.publish(OrderCreated(...))
            await run_until_idle(store, Consumer(store, inventory))

Ready-made pytest fixtures are in `eventcore.testing.fixtures`; nothing else here needs pytest.
"""

from .idle import run_until_idle, running, until, until_idle
from .leaks import leaked_keys
from .server import Server, ServerKind, ServerNotRunning, TlsFiles, available_kinds

ServerError = ServerNotRunning  # the name by which programs outside this project know it

__all__ = [
    "Server",
    "ServerError",
    "ServerKind",
    "ServerNotRunning",
    "TlsFiles",
    "available_kinds",
    "leaked_keys",
    "run_until_idle",
    "running",
    "until",
    "until_idle",
]
