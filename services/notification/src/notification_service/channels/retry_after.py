"""How long a server asks to be left alone (RFC 9110, 10.2.3)."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

__all__ = ["retry_after"]

LONGEST = timedelta(days=1)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a `Retry-After`: seconds or an HTTP date, from zero to a day; None without one that can be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(float(value), LONGEST.total_seconds()))
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:  # "-0000": UTC of unknown origin
        when = when.replace(tzinfo=UTC)
    return min(max(when - now, timedelta(0)), LONGEST)
