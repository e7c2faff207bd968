"""The model: a shop that serves its orders one after another from the stock at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from .orders import Item

Status = Literal["confirmed", "rejected"]


class Shortage(NamedTuple):
    """What an order asked of a product that does not have it; `available` is what was there at that moment."""

    product_id: str
    requested: int
    available: int


class Outcome(NamedTuple):
    """How an order ends; a confirmed one has no reason and no shortages."""

    status: Status
    reason: str | None = None
    shortages: tuple[Shortage, ...] = ()


confirmed = Outcome("confirmed")


def serve(stock: Mapping[str, int], orders: Iterable[tuple[str, Iterable[Item]]]) -> dict[str, Outcome]:
    """The outcome of each order, by its id, served in the given order; `stock` stays as it is."""
    left = dict(stock)
    outcomes: dict[str, Outcome] = {}
    for order_id, items in orders:
        outcomes[order_id] = _serve_one(left, items)
    return outcomes


def _serve_one(left: dict[str, int], items: Iterable[Item]) -> Outcome:
    """All or nothing; lines of one product add up."""
    units: Counter[str] = Counter()
    for product, quantity in items:
        units[product] += quantity
    short = tuple(Shortage(*line, left.get(line[0], 0)) for line in units.items() if left.get(line[0], 0) < line[1])
    if short:
        unknown = any(product not in left for product in units)
        return Outcome("rejected", "unknown_product" if unknown else "out_of_stock", short)
    for product, quantity in units.items():
        left[product] -= quantity
    return confirmed
