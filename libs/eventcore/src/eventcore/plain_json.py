"""JSON from outside, where everything that readers could understand in two ways is refused."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json


class DoubledName(ValueError):
    """An object has two members of one name; which of them counts would depend on the reader."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: stands twice in one object")


def parse(raw: bytes) -> Any:
    """What `raw` says. Raises `DoubledName`, and `ValueError` for what is not JSON in UTF-8, or nested too deeply."""
    content = from_json(raw, allow_inf_nan=False)
    # Looking for doubled names costs more than reading. What is written as we would write it has none: it was written
    # from objects like ours, and most programs write like that.
    if to_json(content) != raw:
        json.loads(raw, object_pairs_hook=_refuse_doubled_names)
    return content


def _refuse_doubled_names(members: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise DoubledName(name[:100])
        seen.add(name)
