"""Whatever happens to the server or a connection under way: nothing is lost, nothing done twice, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretStr

from eventcore import Consumer, Hash, OutcomeUnknown, Store, Transaction, Unavailable
from eventcore.server.pipe import WrongPassword
from eventcore.testing import Server, running, until, until_idle
from eventcore.testing.fixtures import Connect, StartServer

from .samples import DEAD_LETTERS, GROUP, RETRY_STREAM, STREAM, Ordered, pending, publish_orders, router_for

COUNTS = Hash("counts")
Disturbance = Callable[[Store, Consumer], Awaitable[object]]


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("counts",)


def count(order: Ordered) -> Transaction:
    return Transaction(then=[COUNTS[order.order_id].add(1)])


async def count_slowly(order: Ordered) -> Transaction:
    await asyncio.sleep(0.002)
    return count(order)


async def counted(store: Store) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in (await store.redis.hgetall("counts")).items()}


async def flush_scripts(store: Store, consumer: Consumer) -> None:
    await store.redis.script_flush()


async def kill_reader(store: Store, consumer: Consumer) -> None:
    await kill(store, consumer._reader.greeting)


async def kill_commands(store: Store, consumer: Consumer) -> None:
    here = await store.redis.client_id()
    others = [client for client in await store.redis.client_list() if int(client["id"]) != here]
    await kill(store, [client["id"] for client in others if client["cmd"].startswith(("evalsha", "xack", "script"))])


async def kill(store: Store, clients: list[object]) -> None:
    for client in clients:
        await store.redis.execute_command("CLIENT", "KILL", "ID", client)


@pytest.mark.parametrize("handler", [count, count_slowly])
@pytest.mark.parametrize("disturb", [flush_scripts, kill_reader, kill_commands])
async def test_a_disturbance_under_way_loses_and_doubles_nothing(
    disturb: Disturbance, handler: Callable[[Ordered], Transaction], connect: Connect, store: Store
) -> None:
    pod = await connect(consumer_batch=20)
    consumer = Consumer(pod, router_for(handler))
    async with running(consumer):
        for start in range(0, 500, 100):
            await publish_orders(store, *range(start, start + 50))
            await until(lambda: consumer.joined)
            await publish_orders(store, *range(start + 50, start + 100))
            await disturb(store, consumer)
        await until_idle(store, consumer, timeout=20)
    assert await counted(store) == {str(number): 1 for number in range(500)}
    assert not await store.redis.exists(DEAD_LETTERS)


async def test_a_server_that_is_killed_and_comes_back_has_everything_done_once(
    start_server: StartServer, connect: Connect
) -> None:
    # By `everysec` a killed server may lose what it has answered while its disk was busy.
    server = start_server(append_only=True, options={"appendfsync": "always"})
    store = await connect(redis_url=SecretStr(server.url))
    consumer = Consumer(store, router_for(count_slowly))
    await store.commands.wait_connected()
    published = await asyncio.gather(*(store.publish(Ordered(order_id=str(n))) for n in range(300)))
    async with running(consumer):
        await until(lambda: len(consumer.holding) > 0)
        await asyncio.to_thread(server.kill)
        await until(lambda: not store.commands.connected)
        await asyncio.to_thread(server.restart)
        await store.commands.wait_connected()
        await until_idle(store, consumer, timeout=20)
    assert len(set(published)) == 300
    assert await counted(store) == {str(number): 1 for number in range(300)}


async def test_a_server_that_is_not_there_at_the_start_is_waited_for(
    start_server: StartServer, connect: Connect
) -> None:
    server: Server = start_server()
    server.kill()
    store = await connect(redis_url=SecretStr(server.url))
    consumer = Consumer(store, router_for(count))
    async with running(consumer):
        with pytest.raises(Unavailable):
            await store.publish(Ordered(order_id="1"))
        assert not consumer.joined
        await asyncio.to_thread(server.restart)
        await until(lambda: consumer.joined, timeout=20)
        await publish_orders(store, 2)
        await until_idle(store, consumer)
    assert await counted(store) == {"2": 1}


async def destroy_group(store: Store) -> None:
    await store.redis.xgroup_destroy(STREAM, GROUP)


async def destroy_retry_group(store: Store) -> None:
    await store.redis.xgroup_destroy(RETRY_STREAM, GROUP)


async def delete_stream(store: Store) -> None:
    await store.redis.delete(STREAM)


async def flush_all(store: Store) -> None:
    await store.redis.flushall()


@pytest.mark.parametrize("destroy", [destroy_group, destroy_retry_group, delete_stream, flush_all])
@pytest.mark.parametrize("holding", [0, 5])
async def test_a_group_that_is_destroyed_is_made_again_and_reading_goes_on(
    destroy: Callable[[Store], Awaitable[None]], holding: int, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()

    async def handle(order: Ordered) -> Transaction:
        await gate.wait()
        done = COUNTS[order.order_id]
        return Transaction(when=[done.absent()], then=[done.set(1)], otherwise=lambda found: [])

    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await until(lambda: consumer.joined)
        await publish_orders(store, *range(holding))
        await until(lambda: len(consumer.holding) == holding)
        assert "recreated at id 0" not in caplog.text
        await destroy(store)
        gate.set()
        await publish_orders(store, "afterwards")
        await until_idle(store, consumer)
    assert (await counted(store))["afterwards"] == 1
    assert len(consumer.holding) == 0
    assert "was missing; recreated at id 0" in caplog.text


async def test_what_waits_for_another_attempt_survives_the_destruction_of_its_group(store: Store) -> None:
    available = False

    def handle(order: Ordered) -> Transaction:
        if not available:
            raise Unavailable("mail server")
        return count(order)

    consumer = Consumer(store, router_for(handle))
    async with running(consumer):
        await publish_orders(store, *range(5))
        await until(lambda: consumer.holding.waiting == 5)
        await store.redis.xgroup_destroy(STREAM, GROUP)
        available = True
        await until_idle(store, consumer)
    assert await counted(store) == {str(number): 1 for number in range(5)}


class LosesReplies:
    """A pipe whose replies to commits are lost, now and then, after they have run."""

    def __init__(self, store: Store) -> None:
        self.pipe, self.calls = store.commands, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.pipe, name)

    async def pipeline(self, commands: list[tuple[str, ...]]) -> list[object]:
        replies = await self.pipe.pipeline(commands)
        self.calls += 1
        if self.calls % 2:
            raise OutcomeUnknown("lost the connection to Redis")
        return replies


async def test_commits_whose_replies_are_lost_are_sent_again_and_run_once(store: Store) -> None:
    store.committer.pipe = LosesReplies(store)  # type: ignore[assignment]
    decisions: list[str] = []

    def once(order: Ordered) -> Transaction:
        decisions.append(order.order_id)
        done = COUNTS[f"{order.order_id} done"]
        return Transaction(when=[done.absent()], then=[done.set(1), COUNTS[order.order_id].add(1)])

    consumer = Consumer(store, router_for(once))
    await publish_orders(store, *range(20))
    async with running(consumer):
        await until_idle(store, consumer)
    assert {number for name, number in (await counted(store)).items()} == {1}
    assert len(decisions) == 20
    assert not await store.redis.exists(DEAD_LETTERS)


async def test_a_password_that_changes_under_way_ends_the_consumer_and_says_why(
    start_server: StartServer, connect: Connect
) -> None:
    server = start_server(password="old")
    store = await connect(redis_url=SecretStr(server.url))
    consumer = Consumer(store, router_for(count))
    ended = asyncio.create_task(consumer.run())
    await until(lambda: consumer.joined)
    await store.redis.config_set("requirepass", "new")
    await store.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(WrongPassword, match="Redis refuses our credentials"):
        await asyncio.wait_for(ended, 20)


async def test_a_defect_of_our_own_ends_the_consumer_and_loses_nothing(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    broken, store = Consumer(await connect(pod_name="broken"), router_for(count)), await connect()
    broken._processor.committer = None  # type: ignore[assignment]
    await publish_orders(store, *range(3))
    with pytest.raises(AttributeError):
        await broken.run()
    assert "a defect in eventcore" in caplog.text
    assert await pending(store) == 3

    consumer = Consumer(store, router_for(count))
    async with running(consumer):
        await until_idle(store, consumer)
    assert await counted(store) == {"0": 1, "1": 1, "2": 1}
