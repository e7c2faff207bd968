"""How long a server asks to be left alone (RFC 9110, 10.2.3), as far as we follow it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# A stranger's header must not decide for how long nobody is told anything: an hour may be a proxy's guess.
LONGEST = timedelta(minutes=1)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a `Retry-After`: seconds or an HTTP date, from zero to `LONGEST`; None without one that can be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(float(value), LONGEST.total_seconds()))
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year or a zone of twenty digits
        return None
    if when.tzinfo is None:  # "-0000": UTC of unknown origin
        when = when.replace(tzinfo=UTC)
    return min(max(when - now, timedelta(0)), LONGEST)
