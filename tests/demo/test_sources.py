"""Orders come from where they are told to, and what became of large baskets is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.files import BadFile
from demo.options import Options
from demo.orders import DEFAULT_COUNT, Item
from demo.sources import split, split_note, workload


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("productID,unitsInStock\n11,22\n42,26\n")
    (tmp_path / "lines.csv").write_text("orderID,productID,quantity\n2,11,12\n1,42,10\n2,42,1\n1,7,1\n")
    return tmp_path


def test_without_being_told_orders_are_generated() -> None:
    assert len(workload(Options()).orders) == DEFAULT_COUNT
    assert len(workload(Options(count=7)).orders) == 7


def test_a_pair_of_files_is_posted_in_file_order_one_after_another(shop: Path) -> None:
    work = workload(Options(products=shop / "products.csv", orders=shop / "lines.csv"))
    assert work.stock == {"11": 22, "42": 26}
    assert [order.name for order in work.orders] == ["2", "1"]
    assert work.orders[0].items == (Item("11", 12), Item("42", 1))
    assert work.connections == 1
    assert "1 ordered product is not in products.csv, so that their orders must be rejected" in work.notes


def test_customers_are_taken_from_orders_csv_beside_it(shop: Path) -> None:
    (shop / "orders.csv").write_text("orderID,customerID\n1,VINET\n")
    work = workload(Options(products=shop / "products.csv", orders=shop / "lines.csv"))
    assert [order.customer_id for order in work.orders] == [None, "VINET"]
    assert "customers from orders.csv" in work.notes


def test_a_wrong_file_of_customers_is_named(shop: Path) -> None:
    (shop / "orders.csv").write_text("orderID,customer\n1,VINET\n")
    with pytest.raises(BadFile, match=r"orders\.csv, line 1: there is no column customerID"):
        workload(Options(products=shop / "products.csv", orders=shop / "lines.csv"))


def test_count_takes_the_first_orders_of_a_file(shop: Path) -> None:
    work = workload(Options(products=shop / "products.csv", orders=shop / "lines.csv", count=1))
    assert [order.name for order in work.orders] == ["2"]


def test_a_basket_over_the_limit_becomes_several_orders() -> None:
    codes = tuple(f"c{number}" for number in range(250))
    orders = [order for _, order in split({1: ("a",), 2: codes})]
    assert [order.name for order in orders] == [
        "of line 1",
        "of line 2, part 1 of 3",
        "of line 2, part 2 of 3",
        "of line 2, part 3 of 3",
    ]
    assert [len(order.items) for order in orders] == [1, 100, 100, 50]
    assert [item.product_id for order in orders[1:] for item in order.items] == list(codes)


def test_which_baskets_were_split_is_said() -> None:
    baskets = {number: ("c",) * size for number, size in enumerate((3, 150, 101, 250, 999), start=1)}
    assert split_note(baskets, [1]) == "1 basket, none over 100 items: nothing split, nothing skipped"
    assert split_note(baskets, [1, 2, 2]) == "2 baskets, 1 over 100 items split into 2 orders: line 2 of 150"
    everything = [line for line, _ in split(baskets)]
    assert split_note(baskets, everything) == (
        "5 baskets, 4 over 100 items split into 17 orders: line 2 of 150, line 3 of 101, line 4 of 250, …"
    )


def test_baskets_are_limited_by_count_and_served_from_made_up_stock(tmp_path: Path) -> None:
    path = tmp_path / "baskets.csv"
    path.write_text("a,b\n" * 30)
    work = workload(Options(baskets=path, count=20))
    assert len(work.orders) == 20
    assert work.stock.keys() == {"a", "b"}


def test_more_orders_than_can_be_judged_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.sources.MOST_ORDERS", 2)
    path = tmp_path / "baskets.csv"
    path.write_text("a\nb\nc\n")
    with pytest.raises(BadFile, match="makes 3 orders and the demo replays at most 2; set COUNT="):
        workload(Options(baskets=path))
