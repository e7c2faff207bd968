"""Events that fail for as long as somebody wants: what is to be written meets something of another type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eventcore.operate.dead_letters import DeadLetters, Letter
from eventcore.testing import until

from .proxy import Command, Line, Moment
from .shop import Basket, Shop
from .watching import STREAMS, commit_by


@dataclass(frozen=True)
class Failed:
    """An order whose event one group has dead-lettered, and which would be handled now."""

    basket: Basket
    letters: list[Letter]


async def dead_lettered(shop: Shop, group: str) -> Failed:
    """Place an order that one group fails, wait for the dead letter, and mend the cause."""
    basket = await shop.basket(orders=1)
    match group:
        case "inventory-group":
            await _fail_in_inventory(shop, basket)
        case "order-group":
            await _fail_in_order_group(shop, basket)
        case _:
            await _fail_in_notification_group(shop, basket)
    return Failed(basket, await _letters(shop, group))


async def _fail_in_inventory(shop: Shop, basket: Basket) -> None:
    field = f"{basket.product}:available"
    await shop.redis.hset("stock", field, "many")
    await shop.order(basket, orders=1)
    await _until_dead_lettered(shop, "inventory-group")
    await shop.redis.hset("stock", field, str(basket.stock))


async def _fail_in_order_group(shop: Shop, basket: Basket) -> None:
    async with _held_back(shop, basket) as order:
        await shop.redis.rename(f"order:{order}", f"aside:{order}")
        await shop.redis.set(f"order:{order}", "poison")
    await _until_dead_lettered(shop, "order-group")
    await shop.redis.rename(f"aside:{order}", f"order:{order}")


async def _fail_in_notification_group(shop: Shop, basket: Basket) -> None:
    async with _held_back(shop, basket) as order:
        await shop.redis.set(f"notifications:{order}", "poison")
    await _until_dead_lettered(shop, "notification-group")
    await shop.redis.delete(f"notifications:{order}")


@asynccontextmanager
async def _held_back(shop: Shop, basket: Basket) -> AsyncIterator[str]:
    """An order that the inventory decides upon only after the block."""
    go = asyncio.Event()

    async def hold(command: Command, line: Line) -> None:
        await go.wait()

    with shop.proxy.trap(Moment.ARRIVING, commit_by("inventory-group"), hold) as trap:
        try:
            await shop.order(basket, orders=1)
            yield basket.accepted[0]
        finally:
            go.set()
        async with asyncio.timeout(10):
            await trap.sprung


def dead_letters(shop: Shop, group: str, redis: Any = None) -> DeadLetters:
    """The dead letters of the stream that the group reads."""
    return DeadLetters(redis or shop.redis, STREAMS[group])


async def _letters(shop: Shop, group: str) -> list[Letter]:
    letters = [letter async for letter in dead_letters(shop, group).list(group=group)]
    assert len(letters) == 1, letters
    return letters


async def _until_dead_lettered(shop: Shop, group: str) -> None:
    await until(dead_letters(shop, group).count, what=f"a dead letter of {group}")
