"""Which lines of an order a mail repeats: anybody may order anything for any address, so none that could advertise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

# No spaces and no markup, and a full stop only before a digit: mail programs make links of what looks like a domain.
PLAIN_ID = re.compile(r"(?:[A-Za-z0-9_-]|\.(?=[0-9])){1,64}")
MOST_LINES = 20


class OfProduct(Protocol):
    """A line that names a product."""

    @property
    def product_id(self) -> str:
        """As the customer wrote it."""


L = TypeVar("L", bound=OfProduct)


def mailable(lines: Iterable[L]) -> tuple[Sequence[L], str]:
    """The first lines whose product ids are plain, and a word on how many products are left out; empty where none."""
    lines = list(lines)
    shown = [line for line in lines if PLAIN_ID.fullmatch(line.product_id)][:MOST_LINES]
    left_out = len({line.product_id for line in lines} - {line.product_id for line in shown})
    return shown, f"{left_out} other product{'s' if left_out > 1 else ''}" if left_out else ""
