"""JSON from outside, where everything that readers could understand in two ways is refused."""

from __future__ import annotations

import json
import math
from typing import Any

from msgspec.json import Encoder
from pydantic_core import from_json

_encoded = Encoder().encode


class DoubledName(ValueError):
    """An object has two members of one name; which of them counts would depend on the reader."""


def parse(raw: bytes) -> Any:
    """What `raw` says. Raises `DoubledName`, and `ValueError` for what is not JSON in UTF-8, or nested too deeply."""
    content = from_json(raw, allow_inf_nan=False)
    # Looking for doubled names costs much more than reading.
    if not _is_whole(content, raw) and (name := _doubled(json.loads(raw, object_pairs_hook=_members))) is not None:
        raise DoubledName(f"{name[:200]}: stands twice in one object")
    return content


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


def _is_whole(content: Any, raw: bytes) -> bool:
    """Whether it is sure that nothing of `raw` was dropped from `content`, as the first of two equal names is.

    Its colon would be gone with it. Only escapes could make up for one, and most programs write none.
    """
    written = _encoded(content)
    return written == raw or (b"\\" not in raw and written.count(b":") == raw.count(b":"))


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
