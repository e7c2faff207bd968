"""The inventory over HTTP."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from contracts import ProductId
from eventcore import Unreadable, Value
from eventcore.web import Api, Page, Problem

from .domain.stock import HIGHEST, Level
from .inventory import Inventory, Reservation

INVENTORY: web.AppKey[Inventory] = web.AppKey("INVENTORY", Inventory)
MOST_LEVELS = 10_000
# 10,000 levels do not fit into what other bodies may have; these do, with the longest ids.
LARGEST_BODY = 4 * 1024 * 1024

# What this version can't read may have come from a newer one, which is there again some time.
MAYBE_ROLLED_BACK_SECONDS = 60

Available = Annotated[int, Field(ge=0, le=HIGHEST, description="May be ordered from now on.")]

api = Api()


class PutLevel(Value):
    """How much of a product may be ordered from now on."""

    available: Available


class NewLevel(PutLevel):
    """The same, naming the product."""

    product_id: ProductId


class PutLevels(Value):
    """New levels of many products. Of a product that is named more than once the last level counts."""

    levels: Annotated[list[NewLevel], Field(min_length=1, max_length=MOST_LEVELS)]


class Updated(Value):
    """Of how many products the levels were put."""

    updated: int


class StockPage(Value):
    """Some of the stock, in the order of product ids."""

    stock: list[Level]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


@api.put(
    "/stock/{productId}",
    scope="stock:write",
    body=PutLevel,
    answers={200: Level},
    links={"get_level": {"productId": "$response.body#/productId"}},
)
async def put_level(request: web.Request, product_id: ProductId, body: PutLevel) -> Level:
    """Set what is available of one product.

    What is reserved stays so. The answer is the level as it is then, orders that came in between included.
    """
    await request.app[INVENTORY].put({product_id: body.available})
    return await _level(request, product_id)


@api.put("/stock", scope="stock:write", body=PutLevels, answers={200: Updated}, max_body=LARGEST_BODY)
async def put_levels(request: web.Request, body: PutLevels) -> Updated:
    """Set what is available of many products, all of them or none.

    The body may have 4 MiB.
    """
    levels = {level.product_id: level.available for level in body.levels}
    await request.app[INVENTORY].put(levels)
    return Updated(updated=len(levels))


@api.get("/stock/{productId}", scope="stock:read", answers={200: Level}, errors=(404,))
async def get_level(request: web.Request, product_id: str) -> Level:
    """Say how much there is of one product."""
    return await _level(request, product_id)


@api.get("/stock", scope="stock:read", query=Page, answers={200: StockPage})
async def list_levels(request: web.Request, query: Page) -> StockPage:
    """List the stock in the order of product ids (by their UTF-8)."""
    levels, last = await request.app[INVENTORY].levels(after=query.position, count=query.limit)
    return StockPage(stock=levels, next_cursor=None if last is None else query.cursor_at(last))


@api.get("/reservations/{orderId}", scope="stock:read", answers={200: Reservation}, errors=(404,))
async def get_reservation(request: web.Request, order_id: str) -> Reservation:
    """Say what has become of an order here."""
    try:
        reservation = await request.app[INVENTORY].reservation(order_id)
    except Unreadable:
        raise _unreadable(f"The reservation of {order_id!r}") from None
    if reservation is None:
        raise Problem(404, detail=f"The order {order_id!r} has not arrived here.")
    return reservation


async def _level(request: web.Request, product_id: str) -> Level:
    try:
        level = await request.app[INVENTORY].level(product_id)
    except Unreadable:
        raise _unreadable(f"The stock of {product_id!r}") from None
    if level is None:
        raise Problem(404, detail=f"There is no product {product_id!r}.")
    return level


def _unreadable(what: str) -> Problem:
    detail = f"{what} is there, but this version can't read it: another one has written it."
    return Problem(503, detail=detail, retry_after=MAYBE_ROLLED_BACK_SECONDS)
