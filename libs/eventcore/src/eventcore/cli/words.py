"""Numbers, ages, times and ids as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from eventcore.events.envelope import timestamp


def age(span: timedelta) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h10m`, `4d06h`."""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"


def size(octets: int) -> str:
    """`512 B`, `1.2 MiB`."""
    if octets < 1024:
        return f"{octets} B"
    power = min((octets.bit_length() - 1) // 10, 4)
    return f"{octets / 1024**power:.1f} {'KMGT'[power - 1]}iB"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 entry`, `1,204 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def at_least(number: int, capped: bool) -> str:
    """`1,204`, or `≥10,000` where counting has stopped."""
    return f"{'≥' if capped else ''}{number:,}"


def moment(at: datetime | None) -> str:
    """A time as the contract writes it; `?` where there is none."""
    return timestamp(at) if at else "?"


def clock(at: datetime | None) -> str:
    """The time of day (UTC), where there is little room."""
    return moment(at)[11:23] if at else "?"


def head(text: str, length: int) -> str:
    """The beginning of an id that differs from its first character on."""
    return text if len(text) <= length else text[: length - 1] + "…"


def last_characters(text: str, length: int) -> str:
    """The end of an id whose beginning says little: a UUID version 7 begins with the time."""
    return text if len(text) <= length else "…" + text[1 - length :]


def rate(a_second: float) -> str:
    """`0.4/s`, `1,204/s`."""
    return f"{a_second:,.0f}/s" if abs(a_second) >= 10 else f"{a_second:.1f}/s"
