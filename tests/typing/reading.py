# pyright: strict
"""What users write to read: type checkers know what comes back. Nothing here is run."""

from __future__ import annotations

from typing import assert_type

from eventcore import Found, Hash, Members, SortedSet, Store, String, Transaction, Unreadable

points, stock, note, index = Hash("points"), Hash("stock"), String("note"), SortedSet("index")


async def look(store: Store, names: list[str]) -> None:
    """Each place, alone and beside others."""
    assert_type(await store.read(points["VINET"]), str | None)
    assert_type(await store.read(points["VINET"].as_int), int | None)
    assert_type(await store.read(points), dict[str, str])
    assert_type(await store.read(points.as_int), dict[str, int])
    assert_type(await store.read(points.each), dict[str, str | Unreadable])
    assert_type(await store.read(note), str | None)
    assert_type(await store.read(index.score("x")), float | None)
    assert_type(await store.read(index.page(count=3)), Members)
    assert_type(await store.read(index.ranked(count=3)), list[tuple[str, float]])
    assert_type(await store.read(points["VINET"].as_int, stock), tuple[int | None, dict[str, str]])
    assert_type(await store.read(note, stock.exists, index.score("y")), tuple[str | None, bool, float | None])
    assert_type(await store.read_each([points[name].as_int for name in names]), list[int | Unreadable | None])


def decide(found: Found) -> Transaction:
    """What was read for `otherwise`."""
    assert_type(found[points["VINET"].as_int], int | None)
    assert_type(found[stock], dict[str, str])
    return Transaction(when=[points["VINET"] >= 1], otherwise=decide, reads=[points["VINET"].as_int, stock])
