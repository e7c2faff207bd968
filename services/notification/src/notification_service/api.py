"""Notifications over HTTP."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, Field

from contracts import OrderId
from eventcore import Value
from eventcore.events.odd_records import OddRecords
from eventcore.web import STORE, Api

from .domain.record import Record, readable, records_of

ODD: web.AppKey[OddRecords] = web.AppKey("ODD", OddRecords)

api = Api()


class OfOrder(BaseModel):
    """Whose notifications to list."""

    order_id: OrderId = Field(alias="orderId")


class Notifications(Value):
    """What the customer was told about an order, oldest first."""

    notifications: list[Record]


@api.get("/notifications", scope="notifications:read", query=OfOrder, answers={200: Notifications})
async def list_notifications(request: web.Request, query: OfOrder) -> Notifications:
    """List what the customer was told about an order."""
    kept = await request.app[STORE].read(records_of(query.order_id).each)
    known = readable(query.order_id, kept.values(), request.app[ODD])
    listed = sorted(known, key=lambda record: (record.sent_at, record.id))
    return Notifications(notifications=listed)
