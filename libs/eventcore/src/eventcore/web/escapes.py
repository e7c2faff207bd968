"""Percent-escapes: each text has one spelling in a path or query, and what is no text is no parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

_BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")


def is_text(raw: str) -> bool:
    """Whether all that is escaped here is UTF-8: aiohttp leaves what isn't as it came, `%ff` as if it were `%25ff`."""
    if "%" not in raw:  # what comes unescaped is ASCII: aiohttp refuses all else
        return True
    try:
        unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return False
    return _BROKEN.search(raw) is None


def unreadable(raw_query: str, names: Iterable[str]) -> Iterator[str]:
    """Which of these parameters are no text."""
    if is_text(raw_query):
        return
    wanted = frozenset(names)
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        if not is_text(value) and (name := unquote_plus(name)) in wanted:
            yield name
