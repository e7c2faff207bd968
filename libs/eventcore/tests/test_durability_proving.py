"""A server is believed once it has proved that it keeps a durability, and refused where it does not."""

from __future__ import annotations

import logging
import time

import pytest

from eventcore import SettingsError
from eventcore.commit.durability import Promise, waits_for_the_sync
from eventcore.errors import NotDurable
from eventcore.testing.fixtures import StartServer
from eventcore.testing.server import Server, ServerKind, available_kinds
from libs.eventcore.tests.durable import (
    DISK,
    EVERY_SECOND,
    REPLICA,
    a_user,
    durable,
    until,
    until_told,
    with_waitaof,
    write,
)


async def test_a_server_that_has_no_append_only_file_is_refused(start_server: StartServer) -> None:
    async with durable(start_server(append_only=False), DISK) as store:
        with pytest.raises(SettingsError, match="ORDER_DURABILITY=disk: the server has no append-only file"):
            await store.check_durability()


@with_waitaof
async def test_a_server_that_never_syncs_is_refused(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True, options={"appendfsync": "no"}) as server:
        async with durable(server, DISK) as store:
            with pytest.raises(SettingsError, match="ORDER_DURABILITY=disk: the server's appendfsync is no"):
                await store.check_durability()


@with_waitaof
async def test_why_a_server_is_refused_is_said_once_however_often_it_is_tried(
    kind: ServerKind, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(kind=kind, append_only=True, options={"appendfsync": "no"}) as server:
        async with durable(server, DISK) as store:

            async def tried() -> int:
                return int((await store.redis.info("commandstats"))["cmdstat_config|get"]["calls"])

            before = await tried()

            async def tried_again() -> bool:
                return await tried() >= before + 2

            await until_told(tried_again)
            problem = store.durability_problem
    assert problem == "ORDER_DURABILITY=disk: the server's appendfsync is no; set it to always, or to everysec"
    assert sum("can't use Redis (durable commits)" in message for message in caplog.messages) == 1


@pytest.mark.skipif("redis" not in available_kinds(), reason="needs a server that is older than WAITAOF, maybe")
async def test_a_server_that_does_not_know_how_to_wait_is_refused() -> None:
    with Server(kind="redis", append_only=True) as server:
        async with durable(server, DISK) as store:
            if await store.commands.execute("COMMAND", "INFO", "WAITAOF") != [None]:
                pytest.skip("this one knows")
            with pytest.raises(
                SettingsError, match="ORDER_DURABILITY=disk: the server can't wait for this: ERR unknown"
            ):
                await store.check_durability()


@with_waitaof
async def test_a_server_that_does_not_let_us_wait_is_refused(kind: ServerKind) -> None:
    with Server(kind=kind, append_only=True) as server:
        async with durable(await a_user(server, "-waitaof"), DISK) as store:
            with pytest.raises(
                SettingsError, match=r"ORDER_DURABILITY=disk: the server can't wait for this: .*waitaof"
            ):
                await store.check_durability()


async def test_a_server_without_enough_replicas_is_refused(start_server: StartServer, brief_waits: None) -> None:
    async with durable(start_server(), REPLICA) as store:
        with pytest.raises(SettingsError, match="ORDER_DURABILITY=replica: 0 of 1 replicas had it within 1 s"):
            await store.check_durability()


needs_early_answers = pytest.mark.skipif("valkey" not in available_kinds(), reason="needs a server that answers early")


@needs_early_answers
@pytest.mark.parametrize("rule", ["+@all", "-config"])
async def test_a_server_that_answers_before_it_syncs_is_refused(rule: str) -> None:
    with Server(kind="valkey", append_only=True, options=EVERY_SECOND) as server:
        async with durable(await a_user(server, rule), DISK) as store:
            with pytest.raises(SettingsError, match="ORDER_DURABILITY=disk: WAITAOF answered 5 times in") as refused:
                await store.check_durability()
            with pytest.raises(NotDurable, match="ORDER_DURABILITY=disk"):
                await store.commit(write(7))
            assert not await store.redis.exists("h")
    assert "\n" not in str(refused.value)
    assert ("here it is everysec" in str(refused.value)) == (rule == "+@all")


@needs_early_answers
async def test_a_server_that_answers_before_it_syncs_is_only_warned_of_where_the_settings_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(kind="valkey", append_only=True, options=EVERY_SECOND) as server:
        async with durable(server, DISK, unproven="warn") as store:
            await store.check_durability()
            await store.commit(write(7))
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("ORDER_DURABILITY=disk: WAITAOF answered" in message for message in warnings)


@pytest.mark.skipif("other" not in available_kinds(), reason="needs a server that answers after the sync")
async def test_a_server_that_syncs_once_a_second_and_answers_then_is_believed_within_seconds() -> None:
    with Server(kind="other", append_only=True, options=EVERY_SECOND) as server:
        async with durable(server, DISK) as store:
            began = time.monotonic()
            await store.check_durability()
            assert 1 < time.monotonic() - began < 4
            await store.commit(write(7))  # right after a sync: the next one is to come
            assert time.monotonic() - began > 2
            await store.redis.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: store.durability_problem is not None)
            again = time.monotonic()
            await store.check_durability()  # known by now
            assert time.monotonic() - again < 2


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ([0.0], None),
        ([0.0, 0.01], None),  # the first of a quiet server is synced at once, the next a second later
        ([0.0, 0.01, 1.01], None),
        ([0.0, 0.01, 1.01, 2.01], True),
        ([0.0, 1.0, 1.01, 2.0], None),  # a sync by chance
        ([0.0, 1.0, 1.01, 2.0, 3.0], True),
        ([0.0, 0.01, 0.02, 0.03], None),
        ([0.0, 0.01, 0.02, 0.03, 0.04], False),
        ([0.0, 1.0, 1.1, 1.2, 1.3, 1.4], False),
        ([0.0, 0.4, 0.8, 1.2, 1.6, 2.0], None),  # a machine so busy that nothing can be told
    ],
)
def test_many_answers_within_a_second_tell_against_a_server_and_two_that_took_one_for_it(
    answered: list[float], told: bool | None
) -> None:
    assert waits_for_the_sync(answered) is told


@pytest.mark.parametrize("replicas", [0, -1, 10**30])
def test_so_many_replicas_are_nowhere(replicas: int) -> None:
    with pytest.raises(ValueError, match="replicas must be from 1 to 100"):
        Promise(REPLICA, replicas=replicas)
