"""A query: what is read of one key, and what the reply means as text and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from eventcore.errors import Conflict, Forbidden, Unreadable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# As guards and additions have it; shorter than what Python refuses to convert.
_INTEGER = re.compile(rb"-?[0-9]{1,4000}")
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
    meaning: Callable[[str, Any], T_co]

    @property
    def query(self) -> Query[T_co]:
        """Itself: a query can be read as a place can."""
        return self

    def understand(self, reply: Any) -> T_co:
        """The value. Raises `Unreadable` where the key holds something else, or the error that the reply is."""
        if isinstance(reply, Conflict):
            raise Unreadable(f"{self.key} holds no {_KINDS[self.command]}")
        if isinstance(reply, Forbidden):
            raise Forbidden.to_run(self.command, self.key)
        if isinstance(reply, Exception):
            raise reply
        one_field = self.command == "HGET"
        return self.meaning(_field(self.key, self.arguments[0]) if one_field else self.key, reply)


def sound(value: T | Unreadable) -> T:
    """The value. Raises the `Unreadable` that stands in its place."""
    if isinstance(value, Unreadable):
        raise value
    return value


def attempt(read: Callable[[str, bytes], T], place: str, value: bytes) -> T | Unreadable:
    """What stands there, or why it can't be read."""
    try:
        return read(place, value)
    except Unreadable as error:
        return error


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
    first, last = (b"-" if after is None else _bound(after)), (b"+" if before is None else _bound(before))
    order = (last, first, "BYLEX", "REV") if reverse else (first, last, "BYLEX")
    # One more than the page has tells whether there is another.
    return Query(key, "ZRANGE", (*order, "LIMIT", 0, count + 1), _PageOf(count))


class _PageOf(Struct, frozen=True):
    """What a reply means that holds one member more than the page where there is another page."""

    count: int

    def __call__(self, key: str, reply: list[bytes]) -> Members:
        shown = reply[: self.count]
        each = tuple(attempt(text, f"a member of {key}", member) for member in shown)
        more = len(reply) > self.count and shown
        return Members(each, shown[-1].decode(errors="surrogateescape") if more else None)


def _bound(member: str) -> bytes:
    """Next to this member, which need not be text: `Members.next` may be any bytes."""
    return b"(" + member.encode(errors="surrogateescape")


def _field(key: str, name: object) -> str:
    return f"{key}[{name}]"


def text(place: str, value: bytes) -> str:
    """A value as text. Raises `Unreadable` for what is no UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unreadable(f"{place} holds no text") from None


def integer(place: str, value: bytes) -> int:
    """A value as an integer, of any size. Raises `Unreadable` for anything else."""
    if not _INTEGER.fullmatch(value):
        raise Unreadable(f"{place} holds no integer")
    return int(value)


def maybe_text(place: str, reply: bytes | None) -> str | None:
    """One value as text; `None` where there is nothing."""
    return None if reply is None else text(place, reply)


def maybe_integer(place: str, reply: bytes | None) -> int | None:
    """One value as an integer; `None` where there is nothing."""
    return None if reply is None else integer(place, reply)


def maybe_score(place: str, reply: bytes | None) -> float | None:
    """A score; `None` for what is no member."""
    return None if reply is None else float(reply)


def yes(place: str, reply: int) -> bool:
    """Whether there is something."""
    return reply == 1


def texts(place: str, reply: list[bytes]) -> dict[str, str]:
    """All fields of a hash, as text."""
    return _fields(place, reply, text)


def integers(place: str, reply: list[bytes]) -> dict[str, int]:
    """All fields of a hash, as integers."""
    return _fields(place, reply, integer)


def each_text(place: str, reply: list[bytes]) -> dict[str, str | Unreadable]:
    """All fields of a hash, an `Unreadable` in the place of a value that is not text."""
    return _fields(place, reply, lambda field, value: attempt(text, field, value))


def _fields(place: str, reply: list[bytes], read: Callable[[str, bytes], T]) -> dict[str, T]:
    names = [text(f"a field's name of {place}", name) for name in reply[::2]]
    return {name: read(_field(place, name), value) for name, value in zip(names, reply[1::2], strict=True)}


def ranking(place: str, reply: list[bytes]) -> list[tuple[str, float]]:
    """Members of a sorted set with their scores."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [(text(f"a member of {place}", member), float(score)) for member, score in pairs]
