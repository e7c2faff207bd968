"""What a careless or hostile program could write: good events with one place spoiled, in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parents[1] / "schemas"

Place = tuple[str | int, ...]

_HERE = "in place of this"
_MUCH = "x" * 10_000
# As they would stand in the JSON; nothing of this fits everywhere, and most of it nowhere.
VALUES = [
    "null", "true", "0", "-1", "1.5", "1e999", "-1e999", "9" * 400, "NaN", "1_000", "01",
    '""', '"x"', '"12"', f'"{_MUCH}"', '"\\u0000"', '"\\ud800"', '"\\u0000\\u007f\\n"', '"\xff"', "'x'", "",
    "[]", "[null]", f"[{','.join(['1'] * 2000)}]", "{}", '{"a":1,"a":2}', '{"a":{"b":1,"c":2,"b":3}}',
    "[" * 150 + "]" * 150, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000,
]  # fmt: skip


def examples() -> list[dict[str, Any]]:
    """One good event of each version of each type."""
    return [json.loads(path.read_text())[0] for path in sorted(SCHEMAS.glob("*/*.examples.json"))]


def places(content: Any, place: Place = ()) -> Iterator[Place]:
    """Where values stand in a JSON document, from the outside in."""
    yield place
    members = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in members:
        yield from places(value, (*place, name))


def replaced(content: Any, place: Place, value: Any) -> Any:
    """The document with another value at this place."""
    if not place:
        return value
    changed = deepcopy(content)
    parent = changed
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = value
    return changed


def without(content: Any, place: Place) -> Any:
    """The document with nothing at this place, which must not be all of it."""
    changed = deepcopy(content)
    parent = changed
    for name in place[:-1]:
        parent = parent[name]
    del parent[place[-1]]
    return changed


def spoiled(content: dict[str, Any]) -> Iterator[tuple[Place, bytes]]:
    """The document with one place spoiled, in every way, for every place; not every one of them is wrong then."""
    for place in places(content):
        if place:
            yield place, json.dumps(without(content, place)).encode()
        for value in VALUES:
            text = json.dumps(replaced(content, place, _HERE)).replace(json.dumps(_HERE), value)
            yield place, text.encode("latin-1")
        if place and isinstance(place[-1], str):
            name = json.dumps(place[-1])
            text = json.dumps(replaced(content, place, _HERE))
            yield place, text.replace(json.dumps(_HERE), f"1, {name}: 2").encode()
