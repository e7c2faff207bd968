"""What the tests of takeovers share: consumers that die with deliveries in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from eventcore import Consumer, Store, Transaction
from eventcore.testing import until

from .samples import Handler, Ordered, pending, publish_orders, router_for


class Hanging:
    """An async handler that never returns."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def __call__(self, order: Ordered) -> Transaction:
        self.begun.append(order.order_id)
        await asyncio.Event().wait()
        return Transaction()


@asynccontextmanager
async def killed_at_the_end(*consumers: Consumer) -> AsyncIterator[None]:
    """Run consumers beside the block; at its end they fall silent without a word, as if killed."""
    tasks = [asyncio.create_task(each.run()) for each in consumers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def leave_behind(store: Store, number: int) -> None:
    """Let the store's pod die with so many deliveries in hand."""
    handler = Hanging()
    await publish_orders(store, *range(number))
    async with killed_at_the_end(Consumer(store, router_for(handler))):
        await until(lambda: len(handler.begun) == number)
    assert await pending(store) == number


def consumer(store: Store, handler: Handler) -> Consumer:
    return Consumer(store, router_for(handler))
