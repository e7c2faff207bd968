"""The memory of a stream is about what it takes, also where the server says six times as much."""

from __future__ import annotations

from functools import partial

from eventcore import Store
from eventcore.operate.inspection import Inspector
from eventcore.operate.inspection.memory import memory_of
from eventcore.testing import until

from .samples import GROUP, STREAM

ENTRIES = 10_000


async def used_memory(store: Store) -> int:
    return int((await store.redis.info("memory"))["used_memory"])


async def is_about_what_it_takes(store: Store, before: int) -> None:
    """The stream's memory is that by which the server's has grown, to a quarter, and to the buffers of clients."""
    said = (await Inspector(store.redis).stream(STREAM)).memory or 0
    await until(partial(is_close, store, before, said), what=f"{said:,} bytes are about what the stream takes")


async def is_close(store: Store, before: int, said: int) -> bool:
    grown = await used_memory(store) - before
    return abs(said - grown) <= max(grown / 4, 200_000)


async def test_it_is_right_unread_pending_and_trimmed(store: Store) -> None:
    before = await used_memory(store)
    filling = store.redis.pipeline(transaction=False)
    for _ in range(ENTRIES):
        filling.xadd(STREAM, {"event": "x" * 400})
    await filling.execute()
    await store.redis.xgroup_create(STREAM, GROUP, "0")
    await is_about_what_it_takes(store, before)
    await store.redis.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, count=ENTRIES)
    await is_about_what_it_takes(store, before)
    await store.redis.xtrim(STREAM, maxlen=1, approximate=False)
    await is_about_what_it_takes(store, before)


def test_what_valkey_says_is_taken_as_it_is() -> None:
    server = {"redis_version": "7.2.4", "valkey_version": "9.1.2"}
    assert memory_of(5_000_000, nodes=1000, pending=10_000, server=server) == 5_000_000
    assert memory_of(5_000_000, nodes=1000, pending=10_000, server={}) == 5_000_000


def test_what_is_left_of_it_is_never_nothing() -> None:
    assert memory_of(7_000, nodes=2, pending=10_000, server={"redis_version": "7.0.15"}) == 1_000
