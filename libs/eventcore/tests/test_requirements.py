"""What a Redis must be like: refused where orders would be lost by design, warned of where they may be."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from eventcore import SettingsError, Store
from eventcore.operate.inspection.server import server_state
from eventcore.operate.reporting import Reporter
from eventcore.server.requirements import Facts, facts_of, findings
from eventcore.telemetry import measurements
from eventcore.testing.fixtures import Connect, StartServer
from eventcore.testing.server import Server

INFO = {
    "redis_version": "7.0.15",
    "maxmemory_policy": "noeviction",
    "maxmemory": "67108864",
    "aof_enabled": "1",
    "role": "master",
    "connected_slaves": "0",
}
CONFIG = {
    "save": "3600 1",
    "appendfsync": "everysec",
    "no-appendfsync-on-rewrite": "no",
    "min-replicas-to-write": "0",
    "stream-node-max-bytes": "4096",
    "stream-node-max-entries": "100",
}
EVICTING = ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]
IN_ORDER: dict[str, Any] = {"append_only": True, "maxmemory": "64mb"}


def kinds(info: dict[str, str] | None = None, config: dict[str, str] | None = None, **more: str) -> list[str]:
    """What is found on a server that is in order but for these."""
    facts = Facts({**INFO, **(info or {})}, {**CONFIG, **(config or {})}, **more)
    return [finding.kind for finding in findings(facts)]


async def open_on(server: Server, connect: Connect, **changed: object) -> Store:
    return await connect(redis_url=SecretStr(server.url), **changed)


def test_a_server_in_order_has_no_findings() -> None:
    assert kinds() == []
    assert kinds({"connected_slaves": "2", "min_slaves_good_slaves": "2"}) == []
    assert kinds({"connected_slaves": "2"}, {"min-replicas-to-write": "1"}) == []
    assert kinds({"redis_version": "7.2.4", "valkey_version": "8.0.1"}) == []


@pytest.mark.parametrize(
    ("info", "config", "kind"),
    [
        ({"redis_version": "6.2.14"}, {}, "too_old"),
        ({"maxmemory": "0"}, {}, "no_memory_limit"),
        ({"aof_enabled": "0"}, {"save": ""}, "no_persistence"),
        ({"aof_enabled": "0"}, {}, "no_append_only"),
        ({}, {"appendfsync": "no"}, "never_synced"),
        ({}, {"no-appendfsync-on-rewrite": "yes"}, "not_synced_on_rewrite"),
        ({"aof_last_write_status": "err"}, {}, "append_only_failing"),
        ({"aof_last_bgrewrite_status": "err"}, {}, "append_only_failing"),
        ({"rdb_last_bgsave_status": "err"}, {}, "snapshots_failing"),
        ({"connected_slaves": "1"}, {}, "no_min_replicas"),
        ({}, {"stream-node-max-bytes": "4294967296"}, "large_nodes"),
        ({}, {"stream-node-max-entries": "1000000"}, "large_nodes"),
        ({}, {"stream-node-max-bytes": "0"}, "large_nodes"),
        *(({"maxmemory_policy": policy}, {}, "may_evict") for policy in EVICTING),
    ],
)
def test_what_is_wrong_is_found(info: dict[str, str], config: dict[str, str], kind: str) -> None:
    assert kinds(info, config) == [kind]


def test_only_what_loses_orders_by_design_is_refused_and_stands_first() -> None:
    worst = {"maxmemory": "0", "maxmemory_policy": "volatile-ttl", "redis_version": "6.0"}
    found = findings(Facts({**INFO, **worst}, CONFIG))
    assert [(each.kind, each.refused) for each in found] == [
        ("too_old", True),
        ("may_evict", True),
        ("no_memory_limit", False),
    ]


def test_a_server_that_cant_load_our_scripts_is_too_old_whatever_it_calls_itself() -> None:
    [finding] = findings(Facts(INFO, CONFIG, script_error="ERR Error compiling script"))
    assert finding.kind == "too_old"
    assert finding.refused


def test_what_may_not_be_asked_is_said_to_be_unknown() -> None:
    assert [each.kind for each in findings(Facts(None, None))] == ["unchecked", "eviction_unknown"]
    assert [each.kind for each in findings(Facts(None, {"maxmemory-policy": "volatile-lru"}))] == [
        "may_evict",
        "unchecked",
    ]
    assert findings(Facts(INFO, None)) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_anything_is_refused(
    start_server: StartServer, connect: Connect, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(policy=policy, **IN_ORDER)
    with pytest.raises(SettingsError, match=f"maxmemory-policy is {policy}"):
        await (await open_on(server, connect)).check_server()
    await (await open_on(server, connect, eviction_policy="warn")).check_server()
    assert f"Redis does not meet a requirement: the server's maxmemory-policy is {policy}" in caplog.text


async def test_a_server_in_order_is_welcome(
    start_server: StartServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    await (await open_on(start_server(**IN_ORDER), connect)).check_server()
    assert caplog.messages == []


async def test_a_server_that_keeps_nothing_on_disk_is_warned_of(
    start_server: StartServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    await (await open_on(start_server(maxmemory="64mb"), connect)).check_server()
    [said] = caplog.messages
    assert "the server keeps nothing on disk" in said
    assert "set appendonly yes" in said


async def test_snapshots_alone_are_warned_of(
    start_server: StartServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(maxmemory="64mb", options={"save": "3600 1"})
    await (await open_on(server, connect)).check_server()
    assert "no append-only file: a crash loses all that came since the last snapshot" in caplog.text


async def test_the_policy_is_found_without_the_right_to_info(start_server: StartServer, connect: Connect) -> None:
    server = start_server(policy="volatile-lru", **IN_ORDER)
    admin = await open_on(server, connect)
    await admin.commands.execute("ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "+@all", "-info")
    store = await connect(redis_url=SecretStr(f"redis://few:pw@127.0.0.1:{server.port}/0"))
    with pytest.raises(SettingsError, match="volatile-lru"):
        await store.check_server()


async def test_without_the_right_to_look_the_service_runs_and_says_so(
    start_server: StartServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(policy="volatile-lru")
    admin = await open_on(server, connect)
    await admin.commands.execute("ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "+@all", "-info", "-config")
    store = await connect(redis_url=SecretStr(f"redis://few:pw@127.0.0.1:{server.port}/0"))
    await store.check_server()
    assert "maxmemory-policy is not known" in caplog.text


async def test_the_tool_finds_what_the_service_finds(start_server: StartServer, connect: Connect) -> None:
    server = start_server(policy="volatile-lru", options={"stream-node-max-entries": "1000000"})
    store = await open_on(server, connect)
    async with Redis.from_url(server.url) as client:
        state = await server_state(client)
    assert state is not None
    assert list(state.findings) == findings(await facts_of(store.commands))


async def test_replicas_without_a_minimum_are_warned_of(start_server: StartServer, connect: Connect) -> None:
    primary = start_server(options={"repl-diskless-sync-delay": "0"}, **IN_ORDER)
    start_server(options={"replicaof": f"127.0.0.1 {primary.port}"})
    store = await open_on(primary, connect)
    while not (found := findings(await facts_of(store.commands))):
        pass
    assert [each.kind for each in found] == ["no_min_replicas"]
    await store.commands.execute("CONFIG", "SET", "min-replicas-to-write", 1)
    assert findings(await facts_of(store.commands)) == []


async def test_what_becomes_wrong_under_way_is_said_once_and_shown(
    start_server: StartServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store = await open_on(start_server(**IN_ORDER), connect)
    reporter = Reporter(store, [])
    await reporter.look()
    assert reporter.shown(measurements.redis_findings) == {(): 0}
    await store.commands.execute("CONFIG", "SET", "appendfsync", "no")
    for _ in range(2):
        await reporter.look()
    [said] = caplog.messages
    assert said.startswith("Redis no longer meets a requirement: appendfsync is no")
    assert reporter.shown(measurements.redis_findings) == {(): 1}
