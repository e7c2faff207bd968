"""JSON from outside, where everything that readers could understand in two ways is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import jiter


class DoubledName(ValueError):
    """An object has two members of one name; which of them counts would depend on the reader."""


def parse(raw: bytes) -> Any:
    """What `raw` says. Raises `DoubledName`, and `ValueError` for what is not JSON in UTF-8, or nested too deeply."""
    try:
        return jiter.from_json(raw, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError:
        jiter.from_json(raw, allow_inf_nan=False)  # raises again, unless all that is wrong is a doubled name
        name = _doubled(json.loads(raw, object_pairs_hook=_members))
        raise DoubledName(f"{str(name)[:200]}: stands twice in one object") from None


def parse_to_show(raw: bytes) -> Any:
    """What `raw` says to less strict readers, as far as it can be written as JSON again. Else raises `ValueError`."""
    try:
        return json.loads(raw, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number} is no number in JSON, or one out of range")
    return value


class _Doubled(str):
    """Stands for an object in which this name stands twice."""


def _members(members: list[tuple[str, Any]]) -> dict[str, Any] | _Doubled:
    if len(found := dict(members)) == len(members):
        return found
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            return _Doubled(name)
        seen.add(name)
    return found


def _doubled(content: Any) -> str | None:
    """Where a name stands twice, if one does: `data.orderId`."""
    if isinstance(content, _Doubled):
        return str(content)
    members = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in members:
        if (inner := _doubled(value)) is not None:
            return f"{name}.{inner}"
    return None
