"""The inventory's events, and channels that do as they are told, for the notification service's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts import InventoryRejected, InventoryReleased, InventoryReserved, Line, Reason, Shortage
from eventcore import Metadata
from notification_service.channels import Notification
from notification_service.domain.notification import notification

ITEMS = (Line(product_id="tea", quantity=2),)
SHORT = Shortage(product_id="tea", requested=2, available=1)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

RESERVED = InventoryReserved(order_id="1", items=ITEMS, customer_id="VINET", email="vinet@example.com")
RELEASED = InventoryReleased(order_id="1", items=ITEMS, customer_id="VINET", email="vinet@example.com")
REJECTED = InventoryRejected(order_id="1", reason=Reason.OUT_OF_STOCK, shortages=(SHORT,), customer_id="VINET")
NEVER_TRIED = InventoryRejected(order_id="1", reason=Reason.ORDER_CANCELLED)

METADATA = Metadata(
    event_id="event-1",
    timestamp=datetime(2026, 11, 23, 10, tzinfo=UTC),
    correlation_id=TRACE,
    traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
)
TOLD = notification(RESERVED, METADATA)


@dataclass
class Fake:
    """A channel that remembers whom it told. `behave` may raise; `reaches` says whom it can tell."""

    name: str
    behave: Callable[[], None] = lambda: None
    reaches: Callable[[Notification], str | None] = lambda told: told.customer_id or "somebody"
    told: list[Notification] = field(default_factory=list)
    closed: bool = False

    def recipient(self, n: Notification) -> str | None:
        return self.reaches(n)

    async def send(self, n: Notification) -> None:
        self.behave()
        self.told.append(n)

    async def close(self) -> None:
        self.closed = True
