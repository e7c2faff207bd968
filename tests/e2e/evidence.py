"""What the system holds about the orders of one load, gathered once: through its interface and from its streams."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .load import Load, Placed
from .shop import Level, Notification, OrderState, Shop
from .streams import INVENTORY_STREAM, ORDERS_STREAM, Group, Recorded, Streams

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Life:
    """One accepted order, and all that there is about it."""

    placed: Placed
    state: OrderState | None
    reservation: str | None
    notifications: Sequence[Notification]
    created: Sequence[Recorded]
    outcomes: Sequence[Recorded]

    @property
    def done_at(self) -> float | None:
        """When it was decided and its customer told, in seconds since 1970; `None` if it wasn't."""
        if self.state is None or self.state.status == "processing" or not self.notifications:
            return None
        return max(self.state.updated_at, *(each.sent_at for each in self.notifications))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a run is judged by."""

    lives: Sequence[Life]
    refused: Sequence[Placed]
    strangers: Sequence[Recorded]
    """Events about orders that nobody was told of."""
    unreadable: Sequence[Recorded]
    stock: Mapping[str, int]
    levels: Mapping[str, Level]
    groups: Sequence[Group]
    dead_letters: Sequence[Mapping[str, str]]
    poisoned: Sequence[str] = ()
    """Ids of the entries that nobody can handle: exactly these must be among the dead letters."""
    webhooks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Where customers are told by webhook: the ids of all that were received about an order."""


async def gather(
    load: Load, shop: Shop, streams: Streams, *, poisoned: Sequence[str] = (), webhooks: Iterable[tuple[str, str]] = ()
) -> Evidence:
    """Ask the services and read the streams. `webhooks` are (order id, webhook id)."""
    events = {stream: await streams.events(stream) for stream in (ORDERS_STREAM, INVENTORY_STREAM)}
    created, outcomes = (_by_order(events[stream]) for stream in (ORDERS_STREAM, INVENTORY_STREAM))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def life(placed: Placed) -> Life:
        order_id = placed.order_id
        async with slots:
            state = await shop.order(order_id)
            reservation = await shop.reservation(order_id)
            notifications = await shop.notifications(order_id)
        return Life(placed, state, reservation, notifications, created[order_id], outcomes[order_id])

    lives = await asyncio.gather(*map(life, load.accepted))
    known = {order_id for placed in load.accepted for order_id in placed.order_ids}
    every = [event for stream in events.values() for event in stream]
    received: dict[str, list[str]] = defaultdict(list)
    for order_id, webhook_id in webhooks:
        received[order_id].append(webhook_id)
    return Evidence(
        lives=lives,
        refused=[placed for placed in load.placed if not placed.order_ids],
        strangers=[event for event in every if event.order_id is not None and event.order_id not in known],
        unreadable=[event for event in every if event.order_id is None],
        stock=load.stock,
        levels={product: await shop.level(product) for product in load.stock},
        groups=await streams.groups(),
        dead_letters=await streams.dead_letters(),
        poisoned=poisoned,
        webhooks=received,
    )


def _by_order(events: Iterable[Recorded]) -> defaultdict[str, list[Recorded]]:
    found: defaultdict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        if event.order_id is not None:
            found[event.order_id].append(event)
    return found
