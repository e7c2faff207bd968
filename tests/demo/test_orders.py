"""Generated orders are the same every time, popular products are popular, and some are scarce."""

from __future__ import annotations

from collections import Counter

import pytest

from demo.orders import DEFAULT_COUNT, Item, Order, generated, generated_workload, stock_for, wanted
from demo.serial import serve


def test_the_same_orders_and_stock_every_time() -> None:
    assert generated_workload(50, 64) == generated_workload(50, 64)


def test_fewer_orders_are_the_first_of_more() -> None:
    assert generated(200)[:50] == generated(50)


def test_orders_have_one_to_five_lines_of_different_products() -> None:
    sizes: Counter[int] = Counter()
    for order in generated(500):
        products = [item.product_id for item in order.items]
        assert len(set(products)) == len(products)
        assert order.customer_id
        sizes[len(products)] += 1
    assert set(sizes) == {1, 2, 3, 4, 5}


def test_the_tenth_most_wanted_product_is_wanted_several_times_as_often_as_the_hundredth() -> None:
    lines = Counter(item.product_id for order in generated(DEFAULT_COUNT) for item in order.items)
    ranked = [count for _, count in lines.most_common()]
    assert ranked[9] > 3 * ranked[99]


@pytest.mark.parametrize("count", [100, 1000, DEFAULT_COUNT])
def test_a_visible_share_is_rejected_and_most_are_not(count: int) -> None:
    work = generated_workload(count, 64)
    outcomes = serve(work.stock, ((order.name, order.items) for order in work.orders))
    rejected = sum(outcome.status == "rejected" for outcome in outcomes.values())
    assert 0.05 < rejected / count < 0.25


def test_every_product_that_is_wanted_is_stocked_and_so_is_the_rest_of_the_catalogue() -> None:
    orders = generated(10)
    stock = stock_for(orders, ["never-wanted"])
    assert stock.keys() == wanted(orders).keys() | {"never-wanted"}
    assert stock["never-wanted"] > 0


def test_a_body_leaves_out_what_is_not_known() -> None:
    items = [{"productId": "11", "quantity": 12}]
    assert Order("1", (Item("11", 12),)).body() == {"items": items}
    assert Order("1", (Item("11", 12),), "VINET").body() == {"items": items, "customerId": "VINET"}
