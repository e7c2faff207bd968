"""Steady load: an order every so often, each repeated under its own Idempotency-Key until it is decided."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .asking import Answer, NoAnswer
from .shop import Shop

# An order that nobody has decided after so long has failed.
PATIENCE = 60.0
_LONGEST_PAUSE = 1.0
_PLENTY, _FEW = 1_000_000, 10


@dataclass(slots=True)
class Placed:
    """One order: what was asked for, and what came of asking. Times are seconds since 1970, by the system's clock."""

    number: int
    key: str
    trace_id: str
    items: tuple[tuple[str, int], ...]
    sent_at: float
    order_ids: set[str] = field(default_factory=set)
    """Under which ids it was answered 202; one, if all is well."""
    answered_at: float = 0.0
    failures: list[str] = field(default_factory=list)
    """Why single attempts at posting it failed."""
    refused: str | None = None
    """Why it was never accepted."""

    @property
    def order_id(self) -> str:
        """The id under which it was accepted; empty if it wasn't."""
        return min(self.order_ids, default="")

    @property
    def body(self) -> dict[str, Any]:
        """What is posted."""
        return {
            "items": [{"productId": product, "quantity": quantity} for product, quantity in self.items],
            "customerId": f"customer-{self.number}",
        }


class Load:
    """Posts `rate` orders a second from `start` to `finish`, without waiting for earlier ones to be answered.

    The products are its own: some plentiful, one scarce, and one that nobody knows, so that orders come to both ends.
    """

    def __init__(self, shop: Shop, *, rate: float, now: Callable[[], float], seed: int = 1) -> None:
        self.placed: list[Placed] = []
        self.name = f"e2e-{secrets.token_hex(4)}"
        self.stock = {f"{self.name}-{number}": _PLENTY for number in range(1, 9)}
        self.scarce, self.unknown = f"{self.name}-scarce", f"{self.name}-unknown"
        self.stock[self.scarce] = _FEW
        self.rate = rate
        self._shop, self._now = shop, now
        self._random = random.Random(seed)
        self._stopping = asyncio.Event()
        self._changed = asyncio.Condition()
        self._pacing: asyncio.Task[None] | None = None
        self._posting: set[asyncio.Task[None]] = set()

    @property
    def accepted(self) -> list[Placed]:
        """The orders that were answered 202."""
        return [order for order in self.placed if order.order_ids]

    @property
    def failures(self) -> list[str]:
        """Attempts at posting that failed, whatever became of the order afterwards."""
        return [f"order {order.number}: {failure}" for order in self.placed for failure in order.failures]

    async def start(self) -> None:
        """Put the stock, and begin to post."""
        await self._shop.put_stock(self.stock)
        self._pacing = asyncio.create_task(self._pace(), name="load")

    async def more(self, count: int) -> None:
        """Wait until so many more orders have been accepted than now; `AssertionError` if that takes too long."""
        goal = len(self.accepted) + count
        if not await self._came_true(lambda: len(self.accepted) >= goal, PATIENCE):
            raise AssertionError(f"{goal - len(self.accepted)} of {count} more orders not accepted in {PATIENCE:g} s")

    async def felt(self, seconds: float) -> bool:
        """Wait until one more attempt has failed, but not for longer; whether one has."""
        goal = len(self.failures) + 1
        return await self._came_true(lambda: len(self.failures) >= goal, seconds)

    async def finish(self, least: int) -> None:
        """Post no more, but for reaching `least` orders; return when each is decided."""
        if self._pacing is None:
            return
        while len(self.placed) < least:
            await asyncio.wait([self._pacing], timeout=1 / self.rate)
        self._stopping.set()
        await self._pacing
        await asyncio.gather(*self._posting)

    async def abandon(self) -> None:
        """Stop at once, with whatever is on its way. Harmless when done already."""
        tasks = [*self._posting, *([self._pacing] if self._pacing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def repeat(self, count: int) -> None:
        """Post some accepted orders again, word for word: each must get the answer that it had."""
        for order in self._random.sample(self.accepted, min(count, len(self.accepted))):
            await self._post(order)

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stopping.is_set():
            order = self._invent(len(self.placed) + 1)
            self.placed.append(order)
            task = asyncio.create_task(self._post(order))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _invent(self, number: int) -> Placed:
        plentiful = [product for product in self.stock if product != self.scarce]
        items = [(product, self._random.randint(1, 9)) for product in self._random.sample(plentiful, 2)]
        if number % 8 == 0:
            items.append((self.scarce, 2))
        if number % 21 == 0:
            items.append((self.unknown, 1))
        return Placed(number, f"{self.name}-{number}", secrets.token_hex(16), tuple(items), self._now())

    async def _post(self, order: Placed) -> None:
        """Post it until it is decided; what fails on the way is noted."""
        deadline = self._now() + PATIENCE
        attempt = 0
        while True:
            attempt += 1
            pause, said = await self._attempt(order, attempt)
            if pause is None:
                break
            order.failures.append(said)
            await self._tell()
            if self._now() > deadline:
                order.refused = f"not decided within {PATIENCE:g} s: {said}"
                break
            await asyncio.sleep(pause)
        await self._tell()

    async def _attempt(self, order: Placed, attempt: int) -> tuple[float | None, str]:
        """Post it once; how long to wait before the next attempt (`None`: it is decided), and what was said."""
        backoff = min(0.1 * 2 ** min(attempt, 10), _LONGEST_PAUSE) * self._random.uniform(0.5, 1)
        try:
            traceparent = f"00-{order.trace_id}-{secrets.token_hex(8)}-00"
            answer = await self._shop.post_order(order.body, key=order.key, traceparent=traceparent)
        except NoAnswer as error:
            return backoff, f"no answer: {error}"
        if answer.status == 202:
            order.order_ids.add(str(answer.content["id"]))
            order.answered_at = order.answered_at or self._now()
            return None, ""
        said = f"{answer.status} {_detail(answer)}"
        if answer.status == 503:
            return min(float(answer.headers.get("retry-after", backoff)), _LONGEST_PAUSE), said
        order.refused = said
        return None, said

    async def _came_true(self, condition: Callable[[], bool], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            return False
        return True

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _detail(answer: Answer) -> str:
    if isinstance(answer.content, dict):
        return str(answer.content.get("detail") or answer.content.get("title") or "")
    return str(answer.content)[:200]
