"""What is wrong with a file is said in one line that names file, line and column."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.files import BadFile, read_baskets, read_customers, read_order_lines, read_stock
from demo.orders import Item

PRODUCTS = "productID,productName,unitsInStock\n"
LINES = "orderID,productID,quantity\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "file.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_stock_is_read_by_the_names_of_its_columns(write: Callable[[str], Path]) -> None:
    assert read_stock(write(PRODUCTS + "1,Chai,39\n\n2,Chang,17\n")) == {"1": 39, "2": 17}


def test_lines_of_an_order_need_not_stand_together(write: Callable[[str], Path]) -> None:
    path = write(LINES + "10248,11,12\n10249,14,9\n10248,42,10\n")
    assert read_order_lines(path) == {"10248": (Item("11", 12), Item("42", 10)), "10249": (Item("14", 9),)}


def test_a_byte_order_mark_and_spaces_are_no_part_of_anything(write: Callable[[bytes], Path]) -> None:
    assert read_stock(write(b"\xef\xbb\xbfproductID , unitsInStock\r\n 1 , 39 \r\n")) == {"1": 39}


def test_customers_are_read_from_lines_with_unquoted_commas(write: Callable[[str], Path]) -> None:
    path = write("orderID,customerID,shipAddress\n10250,HANAR,Rua do Paço, 67\n")
    assert read_customers(path) == {"10250": "HANAR"}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_baskets_are_read_plain_and_compressed(pack: Callable[[bytes], bytes], write: Callable[[bytes], Path]) -> None:
    assert read_baskets(write(pack(b"a,b\n\nBANK CHARGES\n"))) == {1: ("a", "b"), 3: ("BANK CHARGES",)}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "line 1: there is no column productID and no column unitsInStock; the file is empty"),
        ("productID,stock\n1,2\n", "line 1: there is no column unitsInStock; it has productID, stock"),
        (PRODUCTS, "holds nothing but its header"),
        (PRODUCTS + "1,Chai,39\n2,Chang,many\n", "line 3, column unitsInStock: 'many' is not a whole number from 0"),
        (PRODUCTS + "1,Chai,-1\n", "line 2, column unitsInStock: '-1' is not a whole number"),
        (PRODUCTS + "1,Chai,1_0\n", "line 2, column unitsInStock: '1_0' is not a whole number"),
        (PRODUCTS + "1,Chai,\n", "line 2, column unitsInStock: is empty"),
        (PRODUCTS + "1,Chai\n", "line 2, column unitsInStock: is missing"),
        (PRODUCTS + "1,Chai, black,39\n", "line 2, column 4: the header names only 3 columns"),
        (PRODUCTS + ",Chai,39\n", "line 2, column productID: is empty"),
        (PRODUCTS + "1,Chai,39\n1,Chang,2\n", "line 3, column productID: product 1 is listed twice"),
        (PRODUCTS + f"{'1' * 65},Chai,39\n", "line 2, column productID: is longer than 64 characters"),
        (PRODUCTS + "a\0b,Chai,39\n", "line 2"),
        (PRODUCTS + '1,"Chai,39\n', "line 2: unexpected end of data"),
        (PRODUCTS + '1,"two\nlines",39\n2,Chang,x\n', "line 4, column unitsInStock: 'x'"),
        (PRODUCTS.encode() + b"1,Ch\xe9i,39\n", "line 2, column 5: is not UTF-8"),
        (gzip.compress(PRODUCTS.encode(), mtime=0)[:-9], "can't be read: "),
    ],
)
def test_a_wrong_products_file_is_named_with_line_and_column(
    content: str | bytes, complaint: str, write: Callable[[str | bytes], Path]
) -> None:
    path = write(content)
    with pytest.raises(BadFile) as caught:
        read_stock(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert complaint in message
    assert "\n" not in message


@pytest.mark.parametrize("quantity", ["0", "10001", "1.5", "²"])
def test_quantities_are_those_that_the_service_accepts(quantity: str, write: Callable[[str], Path]) -> None:
    with pytest.raises(BadFile, match=r"line 2, column quantity: .* is not a whole number from 1 to 10,000"):
        read_order_lines(write(LINES + f"1,11,{quantity}\n"))


def test_an_order_of_more_lines_than_the_service_accepts_is_named(write: Callable[[str], Path]) -> None:
    with pytest.raises(BadFile, match=r"line 102, column orderID: order 7 has more than 100 lines"):
        read_order_lines(write(LINES + "7,11,1\n" * 101))


def test_a_basket_with_an_empty_code_is_named(write: Callable[[str], Path]) -> None:
    with pytest.raises(BadFile, match="line 2, column 3: the product code is empty"):
        read_baskets(write("a,b\nc,d,\n"))


def test_an_empty_file_of_baskets_is_named(write: Callable[[str], Path]) -> None:
    with pytest.raises(BadFile, match="holds no baskets"):
        read_baskets(write("\n"))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"nowhere\.csv: there is no such file"):
        read_stock(tmp_path / "nowhere.csv")
    with pytest.raises(BadFile, match="can't be read: Is a directory"):
        read_stock(tmp_path)
