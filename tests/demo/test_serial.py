"""The model serves orders one after another."""

from __future__ import annotations

import pytest

from demo.orders import Item
from demo.serial import Outcome, Shortage, confirmed, serve

STOCK = {"a": 5, "b": 1}


def outcomes(*orders: tuple[Item, ...]) -> list[Outcome]:
    return list(serve(STOCK, ((str(number), items) for number, items in enumerate(orders))).values())


def test_who_comes_first_is_served_first() -> None:
    assert outcomes((Item("a", 3),), (Item("a", 3),), (Item("a", 2),)) == [
        confirmed,
        Outcome("rejected", "out_of_stock", (Shortage("a", 3, 2),)),
        confirmed,
    ]


def test_an_order_gets_everything_or_nothing() -> None:
    assert outcomes((Item("a", 5), Item("b", 2)), (Item("a", 5),)) == [
        Outcome("rejected", "out_of_stock", (Shortage("b", 2, 1),)),
        confirmed,
    ]


def test_lines_of_one_product_add_up() -> None:
    assert outcomes((Item("a", 3), Item("b", 1), Item("a", 3))) == [
        Outcome("rejected", "out_of_stock", (Shortage("a", 6, 5),))
    ]


def test_one_unknown_product_makes_that_the_reason() -> None:
    assert outcomes((Item("a", 6), Item("x", 1))) == [
        Outcome("rejected", "unknown_product", (Shortage("a", 6, 5), Shortage("x", 1, 0)))
    ]


@pytest.mark.parametrize("items", [(Item("a", 5),), (Item("x", 1),)])
def test_the_stock_that_was_given_stays_as_it_is(items: tuple[Item, ...]) -> None:
    stock = dict(STOCK)
    serve(stock, [("1", items)])
    assert stock == STOCK
