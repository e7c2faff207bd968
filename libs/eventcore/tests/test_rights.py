"""A user without some right: nothing is half done or lost, the reason is said, and all goes on once it is granted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from eventcore import Consumer, Forbidden, Hash, Reject, Store, Transaction, Write, publish
from eventcore.operate.dead_letters import DeadLetters
from eventcore.operate.reporting import Reporter
from eventcore.operate.retention import Retention
from eventcore.server.rights import MOST_NEEDS, Refusals
from eventcore.testing import running, until, until_idle
from eventcore.testing.fixtures import Connect

from .restricted import USER, grant, restrict, restricted
from .samples import DEAD_LETTERS, GROUP, RETRY_STREAM, STREAM, Ordered, Shipped, pending, publish_orders, router_for

STATE = "a-record"
BEATS = f"{STREAM}:{GROUP}:beats"
KEYS = (
    STREAM, RETRY_STREAM, DEAD_LETTERS, "a-*", "shipments_stream", BEATS, f"{RETRY_STREAM}:{GROUP}:beats",
    f"{STREAM}:{GROUP}:members", f"{RETRY_STREAM}:{GROUP}:members", f"{STREAM}:{GROUP}:aside",
    f"{STREAM}:{GROUP}:aside:entries",
)  # fmt: skip
COMMANDS = (
    "xack", "xadd", "xclaim", "xdel", "xgroup", "xinfo", "xpending", "xrange", "xreadgroup", "xtrim", "hset",
    "hget", "hdel", "hmget", "pexpire", "zadd", "zrem", "zrange", "zrangebyscore", "zscore", "exists", "evalsha",
    "script", "time", "client", "info", "config", "ping",
)  # fmt: skip
WRITING = re.compile(r"call\('(X(?:ADD|ACK|CLAIM|DEL|TRIM)|XGROUP', '\w+|Z(?:ADD|REM)|SET|DEL|HSET|PEXPIRE)'")


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("a-*", "shipments_stream")


@pytest.fixture
async def user(store: Store, connect: Connect) -> AsyncIterator[Store]:
    """A store whose user's rights the test changes."""
    async with restricted(store.redis, store.settings) as url:
        yield await connect(redis_url=url)


def decide(order: Ordered) -> Transaction:
    """An effect and an event for each order; what is bad becomes a letter."""
    if order.order_id.startswith("bad"):
        raise Reject("no")
    place = Hash(f"a-{order.order_id}")
    then: list[Write] = [
        place["count"].add(1),
        place.expire(timedelta(hours=1)),
        publish(Shipped(order_id=order.order_id)),
    ]
    return Transaction(then=then)


async def assert_whole(store: Store, published: int) -> None:
    """Each order has its effect and its event, or a letter, or is still to be handled."""
    async with store.redis.pipeline(transaction=True) as at_once:
        for order_id in range(1, published + 1):
            at_once.hget(f"a-{order_id}", "count")
        at_once.xlen("shipments_stream").xlen(DEAD_LETTERS).xinfo_groups(STREAM).xrange(STREAM)
        *counts, events, letters, [group], entries = await at_once.execute()
    effects = [count for count in counts if count is not None]
    assert effects == [b"1"] * events
    unread = [entry_id for entry_id, _ in entries if parse_id(entry_id) > parse_id(group["last-delivered-id"])]
    assert events + letters + group["pending"] + len(unread) == published


def parse_id(entry_id: bytes) -> tuple[int, ...]:
    """To be compared."""
    return tuple(map(int, entry_id.split(b"-")))


@pytest.mark.parametrize("command", COMMANDS)
async def test_while_a_command_is_forbidden_all_stays_whole_and_afterwards_all_is_done(
    command: str, store: Store, user: Store
) -> None:
    consumer = Consumer(user, router_for(decide))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await restrict(store.redis, f"-{command}")
        await publish_orders(store, 1, 2, "bad-1")
        await until_hindered_or_idle(store, consumer)
        await assert_whole(store, 3)
        await grant(store.redis)
        await publish_orders(store, 3, "bad-2")
        await until(lambda: finished(store, 5))
        await until(lambda: consumer.problem is None)
    await assert_whole(store, 5)
    assert await store.redis.xlen(DEAD_LETTERS) == 2


@pytest.mark.parametrize("key", KEYS)
async def test_so_it_is_while_a_key_is_forbidden(key: str, store: Store, user: Store) -> None:
    consumer = Consumer(user, router_for(decide))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await restrict(store.redis, "resetkeys", *(f"~{other}" for other in KEYS if other != key))
        await publish_orders(store, 1, 2, "bad-1")
        await until_hindered_or_idle(store, consumer)
        await assert_whole(store, 3)
        await grant(store.redis)
        await until(lambda: finished(store, 3))
        await until(lambda: consumer.problem is None)
    await assert_whole(store, 3)


async def until_hindered_or_idle(store: Store, consumer: Consumer) -> None:
    """Wait until the consumer says that it is hindered, or has done everything all the same."""

    async def so() -> bool:
        return consumer.problem is not None or await finished(store, 3)

    await until(so)


async def finished(store: Store, published: int) -> bool:
    """Whether so many orders have come to their end."""
    ended = await store.redis.xlen("shipments_stream") + await store.redis.xlen(DEAD_LETTERS)
    return ended == published and await pending(store) == 0


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("-xadd",), f"no permission to run XADD on {DEAD_LETTERS}"),
        (("-xclaim",), f"no permission to run XCLAIM on {STREAM}"),
        (("-xgroup|delconsumer",), f"no permission to run XGROUP DELCONSUMER on {RETRY_STREAM}"),
        (("-zrem",), f"no permission to run ZREM on {BEATS}"),
        (("-xreadgroup",), f"no permission to run XREADGROUP on {STREAM}"),
        (("-evalsha",), "evalsha"),
    ],
)
async def test_what_a_consumer_will_need_is_asked_at_its_start(
    rules: tuple[str, ...], said: str, store: Store, user: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await restrict(store.redis, *rules)
    consumer = Consumer(user, router_for(decide))
    async with running(consumer):
        await until(lambda: said in (consumer.problem or ""))
        assert any(said in record.message for record in caplog.records)
        await grant(store.redis)
        await until(lambda: consumer.problem is None)


async def test_a_dead_letter_is_told_of_once_it_is_written(
    store: Store, user: Store, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(user, router_for(decide))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await restrict(store.redis, "-xadd")
        await publish_orders(store, "bad")
        await until(lambda: f"no permission to run XADD on {DEAD_LETTERS}" in (consumer.problem or ""))
        assert (await pending(store), await store.redis.xlen(DEAD_LETTERS)) == (1, 0)
        assert "dead-lettered" not in caplog.text
        await grant(store.redis)
        await until_idle(store, consumer)
    assert await store.redis.xlen(DEAD_LETTERS) == 1
    assert "dead-lettered (rejected)" in caplog.text


async def test_a_handler_that_may_not_read_costs_no_attempt(store: Store, user: Store) -> None:
    async def look(order: Ordered) -> Transaction:
        await user.redis.hgetall("a-secret")
        return decide(order)

    consumer = Consumer(user, router_for(look))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await restrict(store.redis, "-hgetall")
        await publish_orders(store, 1)
        await until(lambda: "hgetall" in (consumer.problem or ""))
        await grant(store.redis)
        await until_idle(store, consumer)
        assert consumer.problem is None
    assert await store.redis.xlen(DEAD_LETTERS) == 0


@pytest.mark.parametrize("command", ["xadd", "xdel", "xgroup", "xrange"])
async def test_a_redrive_that_is_forbidden_moves_nothing(command: str, store: Store, user: Store) -> None:
    await publish_orders(store, "bad")
    async with running(consumer := Consumer(store, router_for(decide))):
        await until_idle(store, consumer)
    letters = [letter async for letter in DeadLetters(store.redis, STREAM).list()]
    before = await store.redis.xlen(RETRY_STREAM)
    await restrict(store.redis, f"-{command}")
    with pytest.raises(Exception, match=f"no permission to run {command.upper()}"):
        await DeadLetters(user.redis, STREAM).redrive(letters)
    assert (await store.redis.xlen(DEAD_LETTERS), await store.redis.xlen(RETRY_STREAM)) == (1, before)
    await grant(store.redis)
    assert await DeadLetters(user.redis, STREAM).redrive(letters) == 1
    assert (await store.redis.xlen(DEAD_LETTERS), await store.redis.xlen(RETRY_STREAM)) == (0, before + 1)


async def test_a_takeover_that_is_forbidden_takes_nothing(store: Store, user: Store) -> None:
    await store.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await publish_orders(store, 1)
    await store.redis.xreadgroup(GROUP, "dead", {STREAM: ">"})
    await store.redis.zadd(BEATS, {"dead": 1})
    member = Consumer(user, router_for(decide)).member
    for command in ("xclaim", "xgroup", "zrem", "xpending"):
        await restrict(store.redis, f"-{command}")
        with pytest.raises(Forbidden, match=command.upper()):
            await member.take_over(STREAM, "dead", dead_after=timedelta(seconds=1), count=10)
        [row] = await store.redis.xpending_range(STREAM, GROUP, "-", "+", 10)
        assert (row["consumer"], row["times_delivered"]) == (b"dead", 1)
        assert await store.redis.zscore(BEATS, "dead") == 1


async def test_retention_that_may_not_trim_says_so_once(
    store: Store, user: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await publish_orders(store, 1)
    await restrict(store.redis, "-xtrim")
    retention = Retention(user, [STREAM])
    for _ in range(2):
        with pytest.raises(Forbidden) as caught:
            await retention.trim()
        retention._notice_refusal(caught.value)
    said = [record.message for record in caplog.records if "nothing is trimmed" in record.message]
    assert len(said) == 1
    assert f"no permission to run XTRIM on {STREAM}" in said[0]


async def test_what_a_request_was_refused_is_asked_again_until_it_is_granted(store: Store, user: Store) -> None:
    await restrict(store.redis, "-hset")
    with pytest.raises(Forbidden):
        await user.commit(Transaction(then=[Hash("a-record")["x"].set(1)]))
    assert await user.refusals.still() == "the Redis user has no permission to run HSET on a-record"
    await restrict(store.redis, "resetkeys", "~b-*")
    with pytest.raises(Forbidden, match="read and write a-record"):
        await user.commit(Transaction(then=[Hash("a-record")["x"].set(1)]))
    assert "read and write a-record" in (await user.refusals.still() or "")
    await grant(store.redis)
    assert await user.refusals.still() is None
    assert await Refusals(user.commands).still() is None


async def test_what_many_requests_were_refused_is_told_of_in_a_line(store: Store, user: Store) -> None:
    await restrict(store.redis, "-hset")
    for number in range(MOST_NEEDS + 10):
        with pytest.raises(Forbidden):
            await user.commit(Transaction(then=[Hash(f"a-{number}")["x"].set(1)]))
    said = await user.refusals.still() or ""
    assert said.endswith(f"; and {MOST_NEEDS - 3} more")
    assert len(said) < 300


@pytest.mark.parametrize("rules", [("-client",), ("-client|setname",), ("-info", "-config", "-ping")])
async def test_what_is_only_for_people_may_be_forbidden(
    rules: tuple[str, ...], store: Store, user: Store, connect: Connect
) -> None:
    await restrict(store.redis, *rules)
    modest = await connect(redis_url=user.settings.redis_url)
    async with running(consumer := Consumer(modest, router_for(decide))):
        await publish_orders(store, 1)
        await until(lambda: finished(store, 1))
        await modest.check_server()
        assert await modest.redis.hget("a-1", "count") == b"1"
        assert consumer.problem is None


async def test_the_rights_that_the_documentation_lists_are_enough(store: Store, user: Store) -> None:
    page = (Path(__file__).parents[3] / "docs" / "requirements.md").read_text()
    rules = re.findall(r"^ACL SETUSER shop on >secret (.*)$", page, re.MULTILINE)[0].split()
    await store.redis.execute_command("ACL", "SETUSER", USER, "reset", "on", ">secret", *rules)
    async with running(consumer := Consumer(user, router_for(decide))):
        await publish_orders(user, 1, "bad")
        await until(lambda: finished(store, 2))
        await user.check_server()
        await Retention(user, [STREAM], redriven=[RETRY_STREAM]).trim()
        await Reporter(user, [STREAM]).look()
        letters = [letter async for letter in DeadLetters(user.redis, STREAM).list()]
        assert await DeadLetters(user.redis, STREAM).redrive(letters) == 1
        await until(lambda: consumer.problem is None)
        await until_idle(store, consumer)


@pytest.mark.parametrize("name", sorted(file.name for file in (files("eventcore") / "lua").iterdir()))
def test_a_script_asks_for_every_right_to_write_before_it_writes(name: str) -> None:
    source = (files("eventcore") / "lua" / name).read_text()
    asked, _, rest = source.partition("if refused then return refused end")
    if name not in ("commit.lua", "rights.lua"):  # `commit.lua` asks for what a transaction writes
        for command in WRITING.findall(rest):
            assert f"{{'{command}'" in asked
