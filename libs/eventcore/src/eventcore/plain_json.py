"""JSON from outside, where everything that readers could understand in two ways is refused."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json


class DoubledName(ValueError):
    """An object has two members of one name; which of them counts would depend on the reader."""


def parse(raw: bytes) -> Any:
    """What `raw` says. Raises `DoubledName`, and `ValueError` for what is not JSON in UTF-8, or nested too deeply."""
    content = from_json(raw, allow_inf_nan=False)
    # Looking for doubled names costs more than reading. What is written as we would write it has none: it was written
    # from objects like ours, and most programs write like that.
    if to_json(content) != raw and (name := _doubled(json.loads(raw, object_pairs_hook=_members))) is not None:
        raise DoubledName(f"{name[:200]}: stands twice in one object")
    return content


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
