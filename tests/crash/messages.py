"""Reading what goes to the commit script: which delivery a transaction settles, and what it writes where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from msgspec import Raw, msgpack


@dataclass(frozen=True, slots=True)
class Asked:
    """A transaction as the script is asked for it: the delivery that it settles, its keys, and the words written."""

    entry_id: str
    keys: frozenset[str]
    words: tuple[str, ...]


def asked(keys: Sequence[str], message: bytes) -> Asked:
    """Take a message apart, in the order in which `lua/commit.lua` reads it."""
    items = map(_value, msgpack.decode(message, type=list[Raw]))
    entry_id = next(items)
    named: set[str] = set()
    words: list[str] = []
    for _ in range(next(items)):  # hashes
        named.add(keys[next(items) - 1])
        _take(items, 4 * next(items))
        words += _take(items, next(items))
    for length in (3, 1, 2):  # strings, sorted sets, streams: each begins with its key
        for _ in range(next(items)):
            named.add(keys[_take(items, length)[0] - 1])
    for _ in range(next(items)):  # writes
        _, key = _take(items, 2)
        named.add(keys[key - 1])
        words += map(str, _take(items, next(items)))
    assert not list(items), "a message is longer than what is in it"
    return Asked(entry_id or "", frozenset(named), tuple(words))


def _take(items: Iterator[Any], count: int) -> list[Any]:
    return list(islice(items, count))


def _value(item: Raw) -> Any:
    packed = bytes(item)
    return packed[5:].decode("utf-8", "replace") if packed[0] == 0xDB else msgpack.decode(packed)
