"""The published language of the shop: the events that the services exchange, with their upcasters."""

from .inventory import InventoryRejected, InventoryReleased, InventoryReserved
from .orders import OrderCancelled, OrderCreated
from .values import Line, OrderId, ProductId, Quantity, Reason, Shortage

__all__ = [
    "InventoryRejected",
    "InventoryReleased",
    "InventoryReserved",
    "Line",
    "OrderCancelled",
    "OrderCreated",
    "OrderId",
    "ProductId",
    "Quantity",
    "Reason",
    "Shortage",
]
