"""Choosing where orders come from: generated, a pair of CSV files, or a file of baskets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from .files import BadFile, read_baskets, read_customers, read_order_lines, read_stock
from .options import Options
from .orders import DEFAULT_COUNT, MOST_ITEMS, MOST_ORDERS, Item, Order, Workload, generated_workload, stock_for

# Loopback connections of ours; enough to keep three services on two cores busy.
CONNECTIONS = 64


def workload(options: Options) -> Workload:
    """What to replay. Raises `BadFile`."""
    if options.products and options.orders:
        return _from_csv(options.products, options.orders, options.count)
    if options.baskets:
        return _from_baskets(options.baskets, options.count)
    return generated_workload(options.count or DEFAULT_COUNT, CONNECTIONS)


def _from_csv(products: Path, lines: Path, count: int | None) -> Workload:
    """Posted one after another, so that the stream has the file's order."""
    stock, order_lines = read_stock(products), read_order_lines(lines)
    beside = lines.with_name("orders.csv")
    customers = read_customers(beside) if beside != lines and beside.exists() else {}
    orders = [Order(name, items, customers.get(name)) for name, items in order_lines.items()][:count]
    notes = []
    if customers:
        notes.append(f"customers from {beside.name}")
    if unknown := {item.product_id for order in orders for item in order.items} - stock.keys():
        those = "1 ordered product is" if len(unknown) == 1 else f"{len(unknown):,} ordered products are"
        notes.append(f"{those} not in {products.name}, so that their orders must be rejected")
    _check_size(lines, len(orders))
    return Workload(f"{len(orders):,} orders of {lines.name}", stock, orders, 1, tuple(notes))


def _from_baskets(path: Path, count: int | None) -> Workload:
    baskets = read_baskets(path)
    chosen = list(islice(split(baskets), count))
    lines, orders = [line for line, _ in chosen], [order for _, order in chosen]
    _check_size(path, len(orders))
    notes = (split_note(baskets, lines), "quantity 1 a code; stock is made up, so that most orders can be served")
    return Workload(f"{len(orders):,} orders from {path.name}", stock_for(orders), orders, CONNECTIONS, notes)


def split(baskets: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[int, Order]]:
    """One order a basket, with its line number; a basket over the API's limit becomes several orders."""
    for line, codes in baskets.items():
        parts = [codes[at : at + MOST_ITEMS] for at in range(0, len(codes), MOST_ITEMS)]
        for part, chosen in enumerate(parts, start=1):
            name = f"of line {line}" + (f", part {part} of {len(parts)}" if len(parts) > 1 else "")
            yield line, Order(name, tuple(Item(code, 1) for code in chosen))


def split_note(baskets: Mapping[int, tuple[str, ...]], lines: Sequence[int]) -> str:
    """Which baskets were split, in words; `lines` says of each order from which line it is."""
    orders = Counter(lines)
    large = [line for line in orders if len(baskets[line]) > MOST_ITEMS]
    used = "1 basket" if len(orders) == 1 else f"{len(orders):,} baskets"
    if not large:
        return f"{used}, none over {MOST_ITEMS} items: nothing split, nothing skipped"
    parts = sum(orders[line] for line in large)
    shown = ", ".join(f"line {line} of {len(baskets[line]):,}" for line in large[:3])
    more = ", …" if len(large) > 3 else ""
    return f"{used}, {len(large):,} over {MOST_ITEMS} items split into {parts:,} orders: {shown}{more}"


def _check_size(path: Path, orders: int) -> None:
    if orders > MOST_ORDERS:
        raise BadFile(f"{path}: makes {orders:,} orders and the demo replays at most {MOST_ORDERS:,}; set COUNT=")
