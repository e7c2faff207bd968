"""A query: what is read of one key, and what the reply means as text and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from eventcore.errors import Conflict, Forbidden, Unreadable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_KINDS = {"GET": "string", "HGET": "hash", "HGETALL": "hash", "ZRANGE": "sorted set", "ZSCORE": "sorted set"}


class Readable(Protocol[T_co]):
    """What `Store.read` takes and what `Transaction.reads` lists: a place, or a query about it."""

    @property
    def query(self) -> Query[T_co]:
        """How it is read."""


class Query(Struct, Generic[T_co], frozen=True):
    """One command that reads, and what its reply means. Made by the places: `points["VINET"].as_int`."""

    key: str
    command: str
    arguments: tuple[str | bytes | int, ...]
    meaning: Callable[[Query[Any], Any], T_co]

    @property
    def query(self) -> Query[T_co]:
        """Itself: a query can be read as a place can."""
        return self

    def understand(self, reply: Any) -> T_co:
        """The value. Raises `Unreadable` where the key holds something else, or the error that the reply is."""
        if not isinstance(reply, Exception):
            return self.meaning(self, reply)
        if isinstance(reply, Conflict):
            raise Unreadable(f"{self.key} holds no {_KINDS[self.command]}")
        raise Forbidden.to_run(self.command, self.key) if isinstance(reply, Forbidden) else reply

    def __str__(self) -> str:
        return f"{self.key}[{self.arguments[0]!s}]" if self.command == "HGET" else self.key


def sound(value: T | Unreadable) -> T:
    """The value. Raises the `Unreadable` that stands in its place."""
    if isinstance(value, Unreadable):
        raise value
    return value


class Members(Struct, frozen=True):
    """A page of a sorted set.

    In `each` an `Unreadable` stands for a member that is not text; `next` is where the next page begins (as `after`, or
    as `before` where the order is reversed), `None` on the last one.
    """

    each: tuple[str | Unreadable, ...]
    next: str | None

    @property
    def members(self) -> list[str]:
        """All of them. Raises `Unreadable` where one is not text."""
        return list(map(sound, self.each))


def page_of(key: str, *, after: str | None, before: str | None, count: int, reverse: bool) -> Query[Members]:
    """Members of a sorted set by their text, at most so many."""
    check_count(count)
    first, last = (b"-" if after is None else _bound(after)), (b"+" if before is None else _bound(before))
    order = (last, first, "BYLEX", "REV") if reverse else (first, last, "BYLEX")
    # One more than the page has tells whether there is another.
    return Query(key, "ZRANGE", (*order, "LIMIT", 0, count + 1), _members)


def check_count(count: int) -> None:
    """Raise `ValueError` for what the server would take for all there is, or for nothing."""
    if count < 1:
        raise ValueError(f"a page of {count} members can't be read")


def _bound(member: str) -> bytes:
    """Next to this member, which need not be text: `Members.next` may be any bytes."""
    return b"(" + member.encode(errors="surrogateescape")


def _members(query: Query[Members], reply: list[bytes]) -> Members:
    count = int(query.arguments[-1]) - 1
    each = tuple(_attempt(_text, member, "a member of {}", query.key) for member in reply[:count])
    return Members(each, reply[count - 1].decode(errors="surrogateescape") if len(reply) > count > 0 else None)


def _text(value: bytes) -> str:
    return value.decode()


def _integer(value: bytes) -> int:
    """Raises `ValueError` for what guards and additions would not take for one, but for its size."""
    if not value.removeprefix(b"-").isdigit():
        raise ValueError
    return int(value)


_WORDS: dict[object, str] = {_text: "text", _integer: "integer"}


def _attempt(read: Callable[[bytes], T], value: bytes, place: str, *names: object) -> T | Unreadable:
    """The value, or an error that names its place."""
    try:
        return read(value)
    except ValueError:
        return Unreadable(f"{place.format(*names)} holds no {_WORDS[read]}")


def maybe_text(query: Query[str | None], reply: bytes | None) -> str | None:
    """One value as text; `None` where there is nothing."""
    return None if reply is None else sound(_attempt(_text, reply, "{}", query))


def maybe_integer(query: Query[int | None], reply: bytes | None) -> int | None:
    """One value as an integer; `None` where there is nothing."""
    return None if reply is None else sound(_attempt(_integer, reply, "{}", query))


def maybe_score(_: Query[float | None], reply: bytes | None) -> float | None:
    """A score; `None` for what is no member."""
    return None if reply is None else float(reply)


def yes(_: Query[bool], reply: int) -> bool:
    """Whether there is something."""
    return reply == 1


def texts(query: Query[dict[str, str]], reply: list[bytes]) -> dict[str, str]:
    """All fields of a hash, as text."""
    return {name: sound(value) for name, value in _fields(query.key, reply, _text)}


def integers(query: Query[dict[str, int]], reply: list[bytes]) -> dict[str, int]:
    """All fields of a hash, as integers."""
    return {name: sound(value) for name, value in _fields(query.key, reply, _integer)}


def each_text(query: Query[dict[str, str | Unreadable]], reply: list[bytes]) -> dict[str, str | Unreadable]:
    """All fields of a hash, an `Unreadable` in the place of a value that is not text."""
    return dict(_fields(query.key, reply, _text))


def _fields(key: str, reply: list[bytes], read: Callable[[bytes], T]) -> Iterator[tuple[str, T | Unreadable]]:
    for raw, value in zip(reply[::2], reply[1::2], strict=True):
        name = sound(_attempt(_text, raw, "a field's name of {}", key))
        yield name, _attempt(read, value, "{}[{}]", key, name)


def ranking(query: Query[list[tuple[str, float]]], reply: list[bytes]) -> list[tuple[str, float]]:
    """Members of a sorted set with their scores."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [(sound(_attempt(_text, member, "a member of {}", query.key)), float(score)) for member, score in pairs]
