"""Odd records: one that this version can't read, a newer one's perhaps, spoils no answer about others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from pydantic import ValidationError

from eventcore.errors import Unreadable

log = logging.getLogger(__name__)

T = TypeVar("T")

# Names that are remembered, so that each is said once and not with every request.
MOST_SAID = 10_000


class OddRecords:
    """Reads records of one kind, and says once of each that can't be read that it is left out."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._said: set[str] = set()

    def read(self, name: str, read: Callable[[], T]) -> T | None:
        """What `read` makes of the record of this name; `None` where it can't."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - what stands in a store may be anything
            self.leave_out(name, error)
            return None

    def readable(self, name: str, values: Iterable[T | Unreadable]) -> list[T]:
        """Those of these values that could be read."""
        found: list[T] = []
        for value in values:
            if isinstance(value, Unreadable):
                self.leave_out(name, value)
            else:
                found.append(value)
        return found

    def leave_out(self, name: str, error: Exception) -> None:
        """Say that a record can't be read, once."""
        if name in self._said:
            return
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said.add(name)
        log.warning(
            "%(kind)s %(record)s can't be read and is left out: %(error)s",
            {"kind": self._kind, "record": name[:200], "error": _reason(error)},
        )


def _reason(error: Exception) -> str:
    """Without what the record holds, which may be a customer's name."""
    if isinstance(error, Unreadable):
        return str(error)
    if not isinstance(error, ValidationError):
        return type(error).__name__
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
