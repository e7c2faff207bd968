"""What a shop is asked to do: orders to replay, the stock to serve them from, and orders made up for the purpose."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# The limits of the API (`POST /orders`, `PUT /stock`), and ours: every event of a run must still be in its stream when
# the run is judged, and services keep 200,000 entries that they have finished with.
MOST_ITEMS = 100
MOST_QUANTITY = 10_000
MOST_ORDERS = 200_000

DEFAULT_COUNT = 5_000
_SEED = 2026
_PRODUCTS = 500

# Each further product is wanted a little less than the one before, as in real shops (Zipf's law with a flat start).
_FLATNESS, _STEEPNESS = 3, 0.9
# What share of all lines asks for a scarce product, for orders of one line; orders of n lines meet n times as many.
_SCARCITY = 0.3
_SCARCE_PART = 0.5  # of what is wanted of a scarce product is there


class Item(NamedTuple):
    """One line of an order."""

    product_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Order:
    """One order to post; `name` is what its source calls it."""

    name: str
    items: tuple[Item, ...]
    customer_id: str | None = None
    email: str | None = None

    def body(self) -> dict[str, object]:
        """The order as `POST /orders` wants it."""
        items = [{"productId": item.product_id, "quantity": item.quantity} for item in self.items]
        customer = {"customerId": self.customer_id, "email": self.email}
        return {"items": items, **{name: value for name, value in customer.items() if value is not None}}


@dataclass(frozen=True)
class Workload:
    """A run: `orders` against `stock`, `connections` at once (1: one after another); `notes` on how it came about."""

    title: str
    stock: Mapping[str, int]
    orders: Sequence[Order]
    connections: int
    notes: tuple[str, ...] = ()

    @property
    def ways(self) -> str:
        """How they are posted, in words."""
        return "one after another, in file order" if self.connections == 1 else f"{self.connections} connections"


def wanted(orders: Iterable[Order]) -> Counter[str]:
    """How many units of each product the orders ask for."""
    units: Counter[str] = Counter()
    for order in orders:
        for product, quantity in order.items:
            units[product] += quantity
    return units


def generated(count: int) -> tuple[Order, ...]:
    """The same orders every time: one to five lines each, popular products popular."""
    chance = random.Random(_SEED)
    products = [f"P{number:04}" for number in range(1, _PRODUCTS + 1)]
    weights = list(itertools.accumulate((rank + _FLATNESS) ** -_STEEPNESS for rank in range(_PRODUCTS)))
    orders = []
    for number in range(1, count + 1):
        lines = chance.choices((1, 2, 3, 4, 5), weights=(30, 28, 20, 13, 9))[0]
        chosen = dict.fromkeys(chance.choices(products, cum_weights=weights, k=lines))
        items = tuple(Item(product, chance.choices((1, 2, 3, 6, 12), (50, 25, 12, 9, 4))[0]) for product in chosen)
        customer = f"C{chance.randrange(1, 1000):03}"
        orders.append(Order(f"#{number}", items, customer, f"{customer.lower()}@shop.example"))
    return tuple(orders)


def stock_for(orders: Sequence[Order], catalogue: Iterable[str] = ()) -> dict[str, int]:
    """Stock that serves most orders: more than is wanted of most products, half of it of some, chosen by a seed.

    So many are scarce that about one order in ten is rejected, whatever the number of lines. Products of `catalogue`
    that nobody wants are stocked too.
    """
    chance = random.Random(_SEED)
    units = wanted(orders)
    lines = Counter(item.product_id for order in orders for item in order.items)
    room = _SCARCITY * len(orders)  # lines
    stock: dict[str, int] = {}
    for product in chance.sample(sorted(units), len(units)):
        if lines[product] <= room:
            room -= lines[product]
            stock[product] = int(units[product] * _SCARCE_PART)
        else:
            stock[product] = math.ceil(units[product] * chance.uniform(1.05, 2))
    for product in catalogue:
        stock.setdefault(product, chance.randrange(10, 100))
    return dict(sorted(stock.items()))


def generated_workload(count: int, connections: int) -> Workload:
    """Generated orders with stock to suit."""
    orders = generated(count)
    catalogue = [f"P{number:04}" for number in range(1, _PRODUCTS + 1)]
    return Workload(f"{count:,} generated orders", stock_for(orders, catalogue), orders, connections)
