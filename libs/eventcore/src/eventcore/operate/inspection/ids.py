"""Entry ids: compared as Redis compares them, and read as times. Any id that Redis takes is fine, sensible or not."""

from __future__ import annotations

import re
from datetime import timedelta

EntryId = tuple[int, int]

_LONGEST_AGE = timedelta(days=365_000)
_PATTERN = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


def parse_id(entry_id: str) -> EntryId:
    """An entry id as something to compare. Raises `ValueError` for what is not a whole `milliseconds-sequence`."""
    match = _PATTERN.fullmatch(entry_id)
    if match is None:
        raise ValueError(f"{entry_id!r} is not an entry id like 1732356000123-0")
    return int(match[1]), int(match[2])


def age_of(entry_id: str, now: int) -> timedelta:
    """How long ago the entry was appended; `now` is in milliseconds of the server's clock. Never negative."""
    return milliseconds(now - parse_id(entry_id)[0])


def milliseconds(count: int) -> timedelta:
    """A time span that fits, whatever the count."""
    return min(timedelta(milliseconds=max(0, min(count, 10**15))), _LONGEST_AGE)


def text(raw: bytes | str) -> str:
    """A name as Redis has it, for people: what is no UTF-8 is replaced."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
