"""Reading orders, stock and baskets from files; what is wrong with one is said in one line: file, line, column."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .orders import MOST_ITEMS, MOST_QUANTITY, Item

MOST_AVAILABLE = 1_000_000_000
LONGEST_ID = 64


class BadFile(Exception):
    """A file is missing or wrong; the message names it, with line and column where there is one."""


@dataclass(frozen=True)
class Line:
    """One line after the header: its cells by column."""

    path: Path
    number: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """A cell that must hold something."""
        value = self.cells[column].strip()
        if problem := _problem(value):
            raise self.wrong(column, problem)
        return value

    def whole(self, column: str, least: int, most: int) -> int:
        """A cell that must hold a whole number within limits."""
        value = self.text(column)
        # `int` takes more than a file should hold: 1_000, or digits of other scripts.
        if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
            raise self.wrong(column, f"{value!r} is not a whole number from {least:,} to {most:,}")
        return int(value)

    def wrong(self, column: str, what: str) -> BadFile:
        """The complaint about one cell."""
        return BadFile(f"{self.path}, line {self.number}, column {column}: {what}")


def read_stock(path: Path) -> dict[str, int]:
    """`productID` and `unitsInStock` of a products file."""
    stock: dict[str, int] = {}
    for line in _lines(path, ("productID", "unitsInStock")):
        product = line.text("productID")
        if product in stock:
            raise line.wrong("productID", f"product {product} is listed twice")
        stock[product] = line.whole("unitsInStock", 0, MOST_AVAILABLE)
    return stock


def read_order_lines(path: Path) -> dict[str, tuple[Item, ...]]:
    """The lines of each order, orders in the order in which the file first names them."""
    orders: dict[str, list[Item]] = {}
    for line in _lines(path, ("orderID", "productID", "quantity")):
        items = orders.setdefault(line.text("orderID"), [])
        if len(items) == MOST_ITEMS:
            raise line.wrong("orderID", f"order {line.text('orderID')} has more than {MOST_ITEMS} lines")
        items.append(Item(line.text("productID"), line.whole("quantity", 1, MOST_QUANTITY)))
    return {name: tuple(items) for name, items in orders.items()}


def read_customers(path: Path) -> dict[str, str]:
    """The customer of each order. Lines with too many cells are read: in Northwind, addresses hold unquoted commas."""
    lines = _lines(path, ("orderID", "customerID"), ragged=True)
    return {line.text("orderID"): line.text("customerID") for line in lines}


def read_baskets(path: Path) -> dict[int, tuple[str, ...]]:
    """The product codes of each basket, by line number; the file has no header and may be compressed."""
    baskets: dict[int, tuple[str, ...]] = {}
    for number, cells in _rows(path):
        codes = tuple(cell.strip() for cell in cells)
        for column, code in enumerate(codes, start=1):
            if problem := _problem(code):
                raise BadFile(f"{path}, line {number}, column {column}: the product code {problem}")
        baskets[number] = codes
    if not baskets:
        raise BadFile(f"{path}: holds no baskets")
    return baskets


def _problem(value: str) -> str:
    """What forbids it as an id, as the API has it, or as any other value."""
    if not value:
        return "is empty"
    if len(value) > LONGEST_ID:
        return f"is longer than {LONGEST_ID} characters"
    return "" if value.isprintable() else f"{value!r} holds characters that nobody can see"


def _lines(path: Path, columns: Sequence[str], *, ragged: bool = False) -> Iterator[Line]:
    rows = _rows(path)
    first, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    if missing := [column for column in columns if column not in names]:
        found = f"it has {', '.join(names)}" if names else "the file is empty"
        raise BadFile(f"{path}, line {first}: there is no column {' and no column '.join(missing)}; {found}")
    number = first
    for number, cells in rows:
        if len(cells) < len(names):
            raise BadFile(f"{path}, line {number}, column {names[len(cells)]}: is missing")
        if len(cells) > len(names) and not ragged:
            raise BadFile(f"{path}, line {number}, column {len(names) + 1}: the header names only {len(names)} columns")
        yield Line(path, number, dict(zip(names, cells, strict=False)))
    if number == first:
        raise BadFile(f"{path}: holds nothing but its header")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each line that holds something, with the number at which it begins."""
    begins = 1
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise BadFile(f"{path}, line {begins}: {error}") from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise BadFile(f"{path}, line {line}, column {column}: is not UTF-8") from error
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadFile(f"{path}: can't be read: {reason}") from error
