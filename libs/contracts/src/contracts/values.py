"""The values that events are made of, with their limits.

Numbers are JSON numbers: `"12"`, `12.0` and `true` are no quantity. Unknown fields are ignored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from eventcore import Value

# Any text of a sensible length: the article's programs make ids of their own.
OrderId = Annotated[str, Field(min_length=1, max_length=200)]

# "BANK CHARGES" and "gift_0001_20" are products too; control characters (C0, DEL, C1) would only hide in logs.
ProductId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]

Quantity = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Count = Annotated[int, Field(strict=True, ge=0)]


class Reason(StrEnum):
    """Why nothing was reserved for an order."""

    OUT_OF_STOCK = "out_of_stock"
    UNKNOWN_PRODUCT = "unknown_product"
    ORDER_CANCELLED = "order_cancelled"


class Line(Value):
    """So many of one product. Lines of the same product add up."""

    product_id: ProductId
    quantity: Quantity


class Shortage(Value):
    """A product of which there was not enough: all lines together asked for `requested`."""

    product_id: ProductId
    requested: Count
    available: Count


# Bounded, because all lines of an order are reserved by one script, and Redis does nothing else meanwhile.
Lines = Annotated[tuple[Line, ...], Field(min_length=1, max_length=1000)]
