"""Stock: how much of each product may still be ordered, and how much is put aside for orders.

One hash holds all of it, so that a commit reads and writes it once however many products it touches. A product is known
once its stock has been put. The index lists the known products in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field as Limits

from contracts import ProductId
from eventcore import Hash, HashField, SortedSet, Transaction, Value, Write

HIGHEST = 1_000_000_000

stock = Hash("stock")
stock_index = SortedSet("stock:index")


class Level(Value):
    """How much there is of one product."""

    product_id: ProductId
    available: int = Limits(description="May still be ordered.")
    reserved: int = Limits(description="Put aside for orders.")


def available(product_id: str) -> HashField:
    """Where it stands how much may still be ordered; absent for an unknown product."""
    return stock[f"{product_id}:available"]


def reserved(product_id: str) -> HashField:
    """Where it stands how much is put aside; absent as long as nothing ever was."""
    return stock[f"{product_id}:reserved"]


def put(levels: Mapping[str, int]) -> Transaction:
    """Set what is available of each product, all of them or none; what is put aside stays so."""
    return Transaction(then=[write for product_id, level in levels.items() for write in _put(product_id, level)])


def take(quantities: Mapping[str, int]) -> Iterator[Write]:
    """Put so much of each product aside."""
    for product_id, quantity in quantities.items():
        yield available(product_id).add(-quantity)
        yield reserved(product_id).add(quantity)


def give_back(quantities: Mapping[str, int]) -> Iterator[Write]:
    """Undo `take`."""
    return take({product_id: -quantity for product_id, quantity in quantities.items()})


def _put(product_id: str, level: int) -> Iterator[Write]:
    yield available(product_id).set(level)
    yield stock_index.add(product_id)
