"""Orders over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import Field

from contracts import Line
from eventcore import Value, new_id, timestamp
from eventcore.web import Answer, Api, FieldError, Page, Problem, correlation_id, token

from .domain.order import NewOrder, Order
from .domain.placing import KeyReused, Once, UnreadableReceipt, fingerprint
from .domain.progress import NotCancellable, UnknownOrder
from .domain.status import OrderStatus
from .orders import Orders, SoughtOrders, UnreadableOrder
from .settings import OrderSettings

ORDERS: web.AppKey[Orders] = web.AppKey("ORDERS", Orders)
SETTINGS: web.AppKey[OrderSettings] = web.AppKey("SETTINGS", OrderSettings)

CustomerId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
# What could be an address; whether it is one, only its mail server knows.
EmailAddress = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$")]

# An order that this version can't read may have come from a newer one, which is there again some time.
MAYBE_ROLLED_BACK_SECONDS = 60

api = Api()
# For links from an answer that names an order.
SAME_ORDER = {"id": "$response.body#/id"}


class PlaceOrder(Value):
    """What is ordered, and by whom. Lines of the same product add up."""

    items: Annotated[list[Line], Field(min_length=1, max_length=100)]
    customer_id: CustomerId | None = None
    email: EmailAddress | None = None


class PlacingHeaders(Value):
    """Headers of a request for an order."""

    idempotency_key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]([ -~]*[!-~])?$",  # HTTP takes spaces off both ends
        description="Requests with the same key are one: they get the same answer, and one order is placed.",
    )


@dataclass(slots=True)
class Accepted:
    """An order, and where it stands with this request."""

    id: str
    status: OrderStatus


class OrderPage(Value):
    """Some orders, newest first."""

    orders: list[Order]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class OrderFilter(Page):
    """Which orders to list."""

    status: OrderStatus | None = Field(default=None, description="Only orders of this status.")


@api.post(
    "/orders",
    scope="orders:write",
    body=PlaceOrder,
    headers=PlacingHeaders,
    answers={202: Accepted},
    answer_headers={"Location": "Where the order can be followed."},
    links={"get_order": SAME_ORDER, "cancel_order": SAME_ORDER},
)
async def place_order(request: web.Request, body: PlaceOrder, headers: PlacingHeaders) -> Answer:
    """Place an order.

    The answer is given once the order and its event are both committed. What becomes of it is decided soon after.
    An `Idempotency-Key` that was used for another body is answered 422.
    """
    app, key = request.app, headers.idempotency_key
    settings = app[SETTINGS]
    customer = _customer_of(request) if settings.auth_bind_customer else None
    if customer is not None:
        if body.customer_id not in (None, customer):
            raise Problem(403, detail="customerId: the token is another customer's.")
        body = body.model_copy(update={"customer_id": customer})
        key = key and f"{customer} {key}"  # what two customers call alike is not the same
    once = None if key is None else Once(key, fingerprint(body), settings.remember)
    try:
        order_id = await app[ORDERS].place(_new_order(body, correlation_id(request)), once)
    except KeyReused:
        error = FieldError(field="Idempotency-Key", message="was already used for another order")
        raise Problem(422, detail=f"{error['field']}: {error['message']}", errors=[error]) from None
    except UnreadableReceipt:
        detail = "The Idempotency-Key was used before, and this version can't read for what: nothing was placed."
        raise Problem(503, detail=detail, retry_after=MAYBE_ROLLED_BACK_SECONDS) from None
    return Answer(Accepted(id=order_id, status=OrderStatus.PROCESSING), headers={"Location": f"/orders/{order_id}"})


@api.get("/orders/{id}", scope="orders:read", answers={200: Order}, errors=(404,))
async def get_order(request: web.Request, id: str) -> Order:
    """Say where an order stands."""
    return await _find(request, id)


@api.get("/orders", scope="orders:read", query=OrderFilter, answers={200: OrderPage})
async def list_orders(request: web.Request, query: OrderFilter) -> OrderPage:
    """List orders, newest first.

    A page may hold fewer than `limit` although it is not the last one, where orders are large.
    """
    statuses = list(OrderStatus) if query.status is None else [query.status]
    wanted = SoughtOrders(frozenset(statuses), _customer_of(request))
    orders, last = await request.app[ORDERS].newest(wanted, before=query.position, count=query.limit)
    return OrderPage(orders=orders, next_cursor=None if last is None else query.cursor_at(last))


@api.post(
    "/orders/{id}/cancel",
    scope="orders:write",
    answers={202: Accepted},
    links={"get_order": SAME_ORDER},
    errors=(404, 409),
)
async def cancel_order(request: web.Request, id: str) -> Accepted:
    """Cancel an order, once or more often. One that was rejected can't be cancelled."""
    if _customer_of(request) is not None:
        await _find(request, id)
    try:
        await request.app[ORDERS].cancel(id)
    except UnknownOrder:
        raise _unknown(id) from None
    except NotCancellable as error:
        raise Problem(409, detail=f"The order is {error}: there is nothing to cancel.") from None
    return Accepted(id=id, status=OrderStatus.CANCELLED)


def _customer_of(request: web.Request) -> str | None:
    """The only customer whose orders this request may touch, where the settings bind customers to tokens."""
    if not request.app[SETTINGS].auth_bind_customer:
        return None
    given = token(request)
    return None if given is None else given.subject


async def _find(request: web.Request, order_id: str) -> Order:
    customer = _customer_of(request)
    try:
        order = await request.app[ORDERS].find(order_id)
    except UnreadableOrder:
        if customer is not None:  # nobody can tell whose it is
            raise _unknown(order_id) from None
        detail = f"The order {order_id!r} is there, but this version can't read it: another one has written it."
        raise Problem(503, detail=detail, retry_after=MAYBE_ROLLED_BACK_SECONDS) from None
    if order is None or customer not in (None, order.customer_id):
        raise _unknown(order_id)
    return order


def _new_order(body: PlaceOrder, correlation_id: str) -> NewOrder:
    return NewOrder(new_id(), tuple(body.items), correlation_id, timestamp(), body.customer_id, body.email)


def _unknown(order_id: str) -> Problem:
    return Problem(404, detail=f"There is no order {order_id!r}.")
