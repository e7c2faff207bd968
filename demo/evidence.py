"""What the system holds when a replay is over, gathered once: through its interface and from its streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .orders import Workload
from .replay import Posted, Refused, Replay
from .shop import Level, Notification, OrderState, Shop
from .streams import INVENTORY_STREAM, ORDERS_STREAM, Recorded, Snapshot, Streams


@dataclass(frozen=True)
class Evidence:
    """Everything that a run is judged by."""

    workload: Workload
    posted: Sequence[Posted]
    refused: Sequence[Refused]
    states: Sequence[OrderState]
    stock: Mapping[str, Level]
    events: Mapping[str, Sequence[Recorded]]
    notifications: Mapping[str, Sequence[Notification]]
    """By order id."""
    snapshot: Snapshot
    dead_letters: Mapping[str, Sequence[str]]
    replicas: int = 1
    """Processes of the inventory service."""

    @cached_property
    def by_id(self) -> dict[str, Posted]:
        """The accepted orders by id."""
        return {each.order_id: each for each in self.posted}

    @cached_property
    def state_of(self) -> dict[str, OrderState]:
        """Order states by id."""
        return {state.order_id: state for state in self.states}

    @cached_property
    def created(self) -> dict[str, list[Recorded]]:
        """What is on `orders_stream`, by order id."""
        return _by_order(self.events[ORDERS_STREAM])

    @cached_property
    def outcomes(self) -> dict[str, list[Recorded]]:
        """What is on `inventory_stream`, by order id."""
        return _by_order(self.events[INVENTORY_STREAM])

    def name(self, order_id: str) -> str:
        """An order for people: `order 10248 (0199…)`."""
        posted = self.by_id.get(order_id)
        return f"order {posted.order.name} ({order_id})" if posted else f"unknown order {order_id}"


async def gather(
    shop: Shop, streams: Streams, workload: Workload, run: Replay, replicas: int, asked: Callable[[], None]
) -> Evidence:
    """Ask the services and read the streams; `asked` is called once for each order whose notifications are known."""
    notifications: dict[str, list[Notification]] = {}

    async def ask(orders: Iterator[Posted]) -> None:
        for each in orders:
            notifications[each.order_id] = await shop.notifications(each.order_id)
            asked()

    orders = iter(run.posted)
    await asyncio.gather(*(ask(orders) for _ in range(32)))
    return Evidence(
        workload=workload,
        posted=run.posted,
        refused=run.refused,
        states=[state async for state in shop.order_states()],
        stock=await shop.stock(),
        events={stream: await streams.events(stream) for stream in (ORDERS_STREAM, INVENTORY_STREAM)},
        notifications=notifications,
        snapshot=await streams.snapshot(),
        dead_letters=await streams.dead_letters(),
        replicas=replicas,
    )


def _by_order(events: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {}
    for event in events:
        found.setdefault(event.order_id, []).append(event)
    return found
