"""Evidence of runs that never happened, right in every respect, for tests to spoil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demo.evidence import Evidence
from demo.orders import Item, Order, Workload, wanted
from demo.replay import Posted
from demo.serial import Outcome, serve
from demo.shop import Level, Notification, OrderState
from demo.streams import INVENTORY_STREAM, ORDERS_STREAM, Group, Recorded, Snapshot

BEGAN = 1_800_000_000.0


def an_order(name: str, **items: int) -> Order:
    """`an_order("first", P1=2)` asks for two of P1."""
    return Order(name, tuple(Item(product, quantity) for product, quantity in items.items()))


def a_run(orders: Sequence[Order], stock: dict[str, int], *, replicas: int = 1, connections: int = 64) -> Evidence:
    """What a shop without fault leaves behind; order n is posted at second n and final 30 milliseconds later."""
    posted = [
        Posted(order, f"id-{number}", f"{number:032x}", BEGAN + number, BEGAN + number + 0.010)
        for number, order in enumerate(orders, start=1)
    ]
    outcomes = serve(stock, ((each.order_id, each.order.items) for each in posted))
    lives = [_Life(each, outcomes[each.order_id]) for each in posted]
    held = wanted(each.order for each in posted if outcomes[each.order_id].status == "confirmed")
    groups = (
        Group(ORDERS_STREAM, "inventory-group", 0, 0, 1),
        Group(INVENTORY_STREAM, "order-group", 0, 0, 1),
        Group(INVENTORY_STREAM, "notification-group", 0, 0, 1),
    )
    lengths = {ORDERS_STREAM: len(posted), INVENTORY_STREAM: len(posted)}
    return Evidence(
        workload=Workload("orders", stock, orders, connections),
        posted=posted,
        refused=[],
        states=[life.state for life in lives],
        stock={product: Level(units - held[product], held[product]) for product, units in stock.items()},
        events={ORDERS_STREAM: [life.created for life in lives], INVENTORY_STREAM: [life.decided for life in lives]},
        notifications={life.posted.order_id: [life.notification] for life in lives},
        snapshot=Snapshot(lengths, groups, ()),
        dead_letters={"orders_dlq": [], "inventory_dlq": []},
        replicas=replicas,
    )


@dataclass(frozen=True)
class _Life:
    posted: Posted
    outcome: Outcome

    @property
    def created(self) -> Recorded:
        items = [{"productId": product, "quantity": quantity} for product, quantity in self.posted.order.items]
        return self._event(ORDERS_STREAM, 0.005, "order.created", {"items": items})

    @property
    def decided(self) -> Recorded:
        if self.outcome.status == "confirmed":
            return self._event(INVENTORY_STREAM, 0.020, "inventory.reserved", {})
        shortages: list[dict[str, object]] = [
            {"productId": product, "requested": requested, "available": available}
            for product, requested, available in self.outcome.shortages
        ]
        data: dict[str, object] = {"reason": self.outcome.reason, "shortages": shortages}
        return self._event(INVENTORY_STREAM, 0.020, "inventory.rejected", data)

    @property
    def state(self) -> OrderState:
        at = self.posted.sent_at + 0.030
        return OrderState(self.posted.order_id, self.outcome.status, self.outcome.reason, self.posted.trace_id, at)

    @property
    def notification(self) -> Notification:
        at = self.posted.sent_at + 0.030
        event_id = self.decided.metadata["eventId"]
        return Notification(self.posted.order_id, f"order_{self.outcome.status}", "log", None, "sent", at, event_id)

    def _event(self, stream: str, after: float, type: str, data: dict[str, object]) -> Recorded:
        entry_id = f"{round((self.posted.sent_at + after) * 1000)}-0"
        order_id = self.posted.order_id
        metadata = {"eventId": f"{type} of {order_id}", "correlationId": self.posted.trace_id}
        if stream == INVENTORY_STREAM:
            metadata["causationId"] = f"order.created of {order_id}"
        return Recorded(stream, entry_id, type, {"orderId": order_id, **data}, metadata)
