"""Whatever is cut off, and whenever: every accepted order comes to one end, once, and nothing is left lying about.

Each row lets a proxy before the server wait for one command of one program, and there kills the program, cuts its
connection or kills the server, which keeps what it has acknowledged (`appendfsync always`). All rows run on Valkey, on
Redis those at which a reply is lost; `CRASH_MATRIX=full` runs all rows on both. Rows of one server share it and run in
one worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from redis.exceptions import RedisError

from eventcore.testing import until
from eventcore.testing.server import ServerKind

from . import watching
from .audit import settle
from .poison import Failed, dead_lettered, dead_letters
from .proxy import Command, Line, Moment
from .rows import (
    Cut,
    Point,
    Row,
    bringing_back,
    handing_back,
    handling,
    ordering,
    putting_aside,
    redriving,
    rows,
    taking_over,
    with_key,
    without_key,
)
from .shop import Shop, open_shop
from .striking import client, kill, note, redriving_program, sprung, strike, strike_pod
from .watching import STREAMS, commit_by, delivery_to, leaving, order_placed, redrive_to, take_over

pytestmark = pytest.mark.asyncio(loop_scope="module")


Opened = Callable[[ServerKind], Awaitable[Shop]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shops(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    """The shop on each kind of server; a new one where a row before has failed."""
    opened: dict[ServerKind, tuple[Shop, AsyncExitStack]] = {}

    async def on(kind: ServerKind) -> Shop:
        shop, stack = opened.get(kind, (None, AsyncExitStack()))
        if shop is None or not shop.quiet:
            await stack.aclose()
            shop = await stack.enter_async_context(open_shop(kind, tmp_path_factory.mktemp(kind)))
            opened[kind] = shop, stack
        return shop

    yield on
    for _, stack in opened.values():
        await stack.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def shop(row: Row, shops: Opened) -> Shop:
    """The shop that the row needs, with everybody at work."""
    shop = await shops(row.kind)
    await shop.pods.ready()
    shop.quiet = False
    return shop


@rows(handling)
async def test_an_order_is_handled_once_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket()
    before_the_commit = row.point in (Point.DELIVERED, Point.RUNNING)
    command = delivery_to(row.who) if before_the_commit else commit_by(row.who)
    with shop.proxy.trap(row.point.moment, command, strike(shop, row)) as trap:
        await shop.order(basket)
        await sprung(trap)
    await settle(shop, basket)


@rows([Point.RUNNING], who=["a slow webhook"])
async def test_a_customer_is_told_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket()
    with shop.receiver.holding() as waiting:
        with shop.proxy.trap(Moment.ANSWERED, delivery_to("notification-group"), note) as trap:
            await shop.order(basket)
            reader = await sprung(trap)
        async with asyncio.timeout(10):
            await waiting.wait()
        await strike_pod(shop, row, reader.pod)
    await settle(shop, basket)


@rows(putting_aside, who=["notification-group"])
async def test_what_is_put_aside_is_handled_once_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket()
    with (
        shop.receiver.refusing(),
        shop.proxy.trap(row.point.moment, watching.putting_aside(row.who), strike(shop, row)) as trap,
    ):
        await shop.order(basket)
        await sprung(trap)
    await settle(shop, basket)


@rows(bringing_back, who=["notification-group"])
async def test_what_comes_back_is_handled_once_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket()
    with shop.receiver.refusing():
        with shop.proxy.trap(Moment.ANSWERED, watching.putting_aside(row.who), note) as aside:
            await shop.order(basket)
            await sprung(aside)
        with shop.proxy.trap(row.point.moment, watching.bringing_back(row.who), strike(shop, row)) as trap:
            await sprung(trap)
    await settle(shop, basket)


@rows(handing_back)
async def test_what_was_in_hand_is_handled_once_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket()
    with shop.proxy.refusing(commit_by(row.who)) as refusal:
        await shop.order(basket)
        await until(lambda: refusal.refused, what=f"{row.who} holds something")
        holder = shop.pods[refusal.refused[0].pod]
        with shop.proxy.trap(row.point.moment, leaving(row.who, holder.name), strike(shop, row)) as trap:
            holder.child.terminate()
            await sprung(trap)
    if row.cut is not Cut.PROCESS:
        assert await shop.pods.end(holder.name) == 0
        shop.pods.start(holder.service)
    await settle(shop, basket)


@rows(taking_over)
async def test_what_a_dead_process_held_is_handled_once_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket()
    with shop.proxy.trap(Moment.ARRIVING, commit_by(row.who), kill(shop)) as death:
        await shop.order(basket)
        dead = await sprung(death)
        with shop.proxy.trap(row.point.moment, take_over(row.who, dead.pod), strike(shop, row)) as trap:
            await sprung(trap)
    await settle(shop, basket)


@rows(redriving)
async def test_a_dead_letter_is_handled_once_although(shop: Shop, row: Row) -> None:
    failed = await dead_lettered(shop, row.who)
    if row.cut is Cut.PROCESS:
        await _kill_the_program_that_redrives(shop, row, failed)
    else:
        await _redrive_into_the_cut(shop, row, failed)
    again = await dead_letters(shop, row.who).redrive(failed.letters)
    assert again == (row.point is Point.REDRIVING)
    await settle(shop, failed.basket)


async def _redrive_into_the_cut(shop: Shop, row: Row, failed: Failed) -> None:
    async with client(shop) as through_the_proxy:
        with shop.proxy.trap(row.point.moment, redrive_to(row.who), strike(shop, row)) as trap:
            with pytest.raises(RedisError):
                await dead_letters(shop, row.who, through_the_proxy).redrive(failed.letters)
            await sprung(trap)


async def _kill_the_program_that_redrives(shop: Shop, row: Row, failed: Failed) -> None:
    program = await redriving_program(shop, STREAMS[row.who])

    async def kill_it(command: Command, line: Line) -> None:
        line.cut()
        program.kill()

    try:
        with shop.proxy.trap(row.point.moment, redrive_to(row.who), kill_it) as trap:
            await sprung(trap)
    finally:
        await program.wait()


@rows(ordering, who=[with_key, without_key])
async def test_there_is_one_order_or_none_although(shop: Shop, row: Row) -> None:
    basket = await shop.basket(orders=1)
    key = basket.product if row.who == with_key else None
    with shop.proxy.trap(row.point.moment, order_placed, strike(shop, row)) as trap:
        reply = await shop.ask(basket, key)
        await sprung(trap)
    assert reply.status == 202 or row.cut is not Cut.CONNECTION
    if reply.order_id is not None:
        basket.accepted.append(reply.order_id)
    elif key is not None:
        await shop.insist(basket, key)
    else:
        basket.unanswered = 1
    await settle(shop, basket)
    if reply.status is None and key is None:
        assert len(await shop.created_for(basket.product)) == (row.point is not Point.ORDERING)
