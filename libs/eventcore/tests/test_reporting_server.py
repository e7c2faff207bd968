"""One process of all reports the server's own figures, as far as the server lets it ask."""

from __future__ import annotations

from eventcore import Store
from eventcore.operate.reporting import Reporter
from eventcore.telemetry import measurements as m


async def test_one_of_two_reports_the_server(store: Store) -> None:
    first, second = Reporter(store, ["orders_stream"]), Reporter(store, ["inventory_stream"])
    await first.look()
    await second.look()
    assert first.shown(m.redis_memory)[()] > 0
    assert first.shown(m.redis_clients)[()] >= 1
    assert first.shown(m.redis_snapshots_ok) == {(): 1}
    assert second.shown(m.redis_memory) == {}
    assert second.shown(m.stream_length) == {("inventory_stream",): 0}


async def test_what_the_server_does_not_have_is_not_reported(store: Store) -> None:
    await store.redis.config_set("maxmemory", "0")
    reporter = Reporter(store, [])
    await reporter.look()
    assert (reporter.shown(m.redis_memory_limit), reporter.shown(m.redis_append_only_ok)) == ({}, {})
    await store.redis.config_set("maxmemory", "64mb")
    try:
        await reporter.look()
        assert reporter.shown(m.redis_memory_limit) == {(): 64 * 2**20}
    finally:
        await store.redis.config_set("maxmemory", "0")
