# pyright: strict
"""What users write: all of it is right to mypy (`--strict`, without pydantic's plugin) and to pyright."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import assert_type

from aiohttp import web
from pydantic import Field

from eventcore import (
    Consumer,
    Event,
    Found,
    Hash,
    Metadata,
    RetryPolicy,
    Router,
    Settings,
    SortedSet,
    Store,
    String,
    Transaction,
    Unavailable,
    Value,
    Write,
    delete,
    load,
    publish,
)
from eventcore.testing import Server, run_until_idle
from eventcore.testing.fixtures import Connect, StartServer
from eventcore.web import STORE, Answer, Api, Page, Problem, create_service, run


class Line(Value):
    product_id: str
    quantity: int = 1


def from_one(data: dict[str, object]) -> dict[str, object]:
    return {**data, "lines": [], "total": data.get("sum", 0)}


class Placed(Event, type="shop.placed", version="2.1", stream="shop_stream", lane="order_id", upcasters={1: from_one}):
    order_id: str
    total: int
    lines: tuple[Line, ...] = ()


class Withdrawn(Event, type="shop.withdrawn", stream="shop_stream"):
    order_id: str
    reason: str | None = None


shop = Router(group="shop-group", retry=RetryPolicy(attempts=3), give_up_after=timedelta(hours=1))
orders, latest, names, latch = Hash("orders"), SortedSet("orders:latest"), Hash("names"), String("latch")


@shop.on(Placed)
def note(order: Placed) -> Transaction:
    return Transaction(then=[orders[order.order_id].set(order.total), latest.add(order.order_id, 1.5)])


billing = Router(group="billing-group", timeout=timedelta(seconds=5))


@billing.on(Placed, retry_for={Unavailable: RetryPolicy(attempts=9)})
async def bill(order: Placed, metadata: Metadata) -> Transaction:
    def refuse(found: Found) -> list[Write]:
        return [publish(Withdrawn(order_id=order.order_id, reason=found[latch]), event_id=metadata.event_id)]

    return Transaction(
        when=[latch.absent(), orders[order.order_id] >= 1, orders["x"].equals("y"), names["z"].present()],
        then=[
            latch.set("x", ttl=timedelta(hours=1)),
            orders.set({"a": 1, "b": None}),
            orders["a"].add(-1),
            delete("b"),
        ],
        otherwise=refuse,
    )


@billing.on(Withdrawn, timeout=timedelta(seconds=1))
async def forget(order: Withdrawn) -> Transaction:
    return Transaction(then=[latest.remove(order.order_id), names.expire(timedelta(days=1))])


audit = Router("audit-group")


@audit.on(Placed)
@audit.on(Withdrawn)
def count(event: Placed | Withdrawn, metadata: Metadata, *, by: int = 1) -> Transaction:
    return Transaction(then=[orders["count"].add(by), orders["last"].set(metadata.event_id)])


class Auditor:
    def note(self, event: Event) -> Transaction:
        return Transaction(then=[names["last"].set(event.type)])

    async def __call__(self, event: Event) -> Transaction:
        return self.note(event)


def register(router: Router, chosen: Callable[[Placed], Transaction | Awaitable[Transaction]]) -> None:
    router.on(Placed)(chosen)
    router.on(Placed)(Auditor())
    router.on(Withdrawn)(Auditor().note)
    router.on(Withdrawn)(partial(count, by=2))


# The decorator gives back what it was given.
assert_type(note(order=Placed(order_id="1", total=7)), Transaction)


async def each_keeps_its_type(order: Placed, metadata: Metadata) -> None:
    assert_type(await bill(order, metadata), Transaction)
    assert_type(await forget(order=Withdrawn(order_id="1")), Transaction)
    assert_type(count(Withdrawn(order_id="1"), metadata, by=2), Transaction)


class ShopSettings(Settings):
    port: int = Field(default=8005, ge=1)
    greeting: str = "Good day"


class Account(Value):
    order_id: str
    total: int


class Range(Value):
    least: int = 0


api = Api()


@api.get("/orders/{orderId}", answers={200: Account}, errors=(404,))
async def get_order(request: web.Request, order_id: str) -> Account:
    """Say what an order costs."""
    total = await request.app[STORE].read(orders[order_id].as_int)
    assert_type(total, int | None)
    if total is None:
        raise Problem(404, detail="There is no such order.")
    return Account(order_id=order_id, total=total)


@api.post("/orders", body=Line, query=Range, answers={201: Account}, scope="orders:write")
async def add_order(request: web.Request, body: Line, query: Range) -> Answer:
    """Place an order."""
    await request.app[STORE].commit(Transaction(then=[orders["1"].set(body.quantity)]))
    return Answer(Account(order_id="1", total=query.least), headers={"Location": "/orders/1"})


@api.get("/orders", query=Page, answers={200: Account})
async def list_orders(request: web.Request, query: Page) -> Account:
    """List orders."""
    return Account(order_id=query.cursor or "", total=query.limit)


def create_app(settings: ShopSettings) -> web.Application:
    return create_service(
        settings, name="shop", routers=[shop, billing, audit], api=api, publishes=[Withdrawn], keeps=[orders, latest]
    )


def main() -> None:
    run(create_app, ShopSettings, port=8005)


async def publishing(store: Store) -> str:
    await store.publish_all([Placed(order_id="1", total=7), Withdrawn(order_id="1")])
    name, count = await store.read(names["a"], orders["count"].as_int)
    assert_type(name, str | None)
    assert_type(count, int | None)
    return await store.publish(Placed(order_id="1", total=7, lines=(Line(product_id="11"),)))


async def test_with_fixtures(settings: Settings, store: Store, connect: Connect, start_server: StartServer) -> None:
    assert_type(load(ShopSettings).greeting, str)
    other = await connect(pod_name="pod-2", source="other")
    await run_until_idle(store, Consumer(store, shop), Consumer(other, audit))
    with start_server(maxmemory="64mb") as server, Server() as another:
        told = ShopSettings(redis_url=server.url, redis_password="hush", heartbeat_seconds=0.1)
        async with Store(told, source="shop") as its, Store(Settings(redis_url=another.url), source="shop") as third:
            await its.publish(Withdrawn(order_id=settings.pod_name))
            await third.check_server()
