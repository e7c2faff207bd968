"""An order, and how it is kept: one hash each, and one index by status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from pydantic import Field, TypeAdapter
from pydantic_core import from_json

from contracts import Line, Reason, Shortage
from eventcore import Hash, SortedSet, Value, Write

from .status import OrderStatus

_TIME = Field(json_schema_extra={"format": "date-time"})


class Order(Value):
    """An order as the API shows it. Its id sorts by the time at which it was placed."""

    id: str
    status: OrderStatus
    items: tuple[Line, ...]
    customer_id: str | None = None
    email: str | None = None
    reason: Reason | None = None
    shortages: tuple[Shortage, ...] | None = None
    correlation_id: str = Field(description="The trace id of the request that placed it.")
    created_at: str = _TIME
    updated_at: str = _TIME

    @classmethod
    def read(cls, order_id: str, fields: Mapping[str, str]) -> Order:
        """An order from the fields of its hash."""
        values = {name: from_json(value) if name in _STRUCTURED else value for name, value in fields.items()}
        return cls.model_validate({**values, "id": order_id})


_STRUCTURED = frozenset({"items", "shortages"})
_lines_to_json = TypeAdapter(tuple[Line, ...]).serializer.to_json


class NewOrder(NamedTuple):
    """An order that is placed at this time. All of it was checked where it came from."""

    id: str
    items: tuple[Line, ...]
    correlation_id: str
    at: str
    customer_id: str | None = None
    email: str | None = None

    def keep(self, ttl: timedelta) -> list[Write]:
        """Writes: have this order, for so long."""
        place, status = order(self.id), OrderStatus.PROCESSING
        fields = {
            "status": status,
            "items": _lines_to_json(self.items, by_alias=True).decode(),
            "customerId": self.customer_id,
            "email": self.email,
            "correlationId": self.correlation_id,
            "createdAt": self.at,
            "updatedAt": self.at,
        }
        return [place.set(fields), place.expire(ttl), index(status).add(self.id)]


def order(order_id: str) -> Hash:
    """Where an order is kept."""
    return Hash(f"order:{order_id}")


def index(status: OrderStatus) -> SortedSet:
    """The ids of all orders of this status, in the order in which they were placed."""
    return _INDEXES[status]


_INDEXES = {status: SortedSet(f"orders:{status}") for status in OrderStatus}
