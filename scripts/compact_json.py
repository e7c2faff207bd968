"""JSON that programs read and people compare: a line for each part, where `json.dumps` has one for each value."""

from __future__ import annotations

import json
from typing import Any


def compact_json(value: Any, *, depth: int = 2) -> str:
    """`value` as JSON in which what stands deeper than `depth` shares a line; ends with a newline."""
    return _written(value, depth, "") + "\n"


def _written(value: Any, depth: int, indent: str) -> str:
    if depth == 0 or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_written(each, depth - 1, inner)}" for name, each in value.items()]
    else:
        parts = [_written(each, depth - 1, inner) for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = ",\n".join(f"{inner}{part}" for part in parts)
    return f"{opening}\n{lines}\n{indent}{closing}"
