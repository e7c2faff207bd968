"""The schemas and golden examples of all versions: what was written once is valid by its schema, and read whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import contracts
from eventcore import Event, decode
from eventcore.schemas import check

SCHEMAS = Path(__file__).parents[1] / "schemas"
EVENTS = {
    event.type: event for event in vars(contracts).values() if isinstance(event, type) and issubclass(event, Event)
}
EXAMPLES = [
    pytest.param(path, example, id=f"{path.parent.name}-{path.name.removesuffix('.examples.json')}-{number}")
    for path in sorted(SCHEMAS.glob("*/*.examples.json"))
    for number, example in enumerate(json.loads(path.read_text()))
]


def schema(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    Draft202012Validator.check_schema(content)
    return content


def schema_beside(examples: Path) -> dict[str, Any]:
    return schema(examples.with_name(examples.name.replace(".examples", "")))


def test_every_version_of_every_event_is_on_file_and_no_type_has_changed_without_one() -> None:
    assert check(EVENTS.values(), SCHEMAS) == []


def test_an_order_really_exists_in_two_versions() -> None:
    assert {path.stem for path in (SCHEMAS / "order.created").glob("?.?.json")} == {"1.0", "1.1"}


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_an_example_is_what_its_schemas_say(path: Path, example: dict[str, Any]) -> None:
    Draft202012Validator(schema(SCHEMAS / "envelope.json")).validate(example)
    Draft202012Validator(schema_beside(path)).validate(example["data"])


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_an_example_is_read_whole(path: Path, example: dict[str, Any]) -> None:
    event = decode({b"event": json.dumps(example).encode()}).open(EVENTS[example["type"]])
    read = event.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert example["data"].keys() & schema_beside(path)["properties"].keys() <= read.keys()
    assert stands_in(read, example["data"])


def stands_in(part: Any, whole: Any) -> bool:
    """Whether all of `part` is in `whole`, where more fields may stand beside it."""
    match part, whole:
        case dict(), dict():
            return all(name in whole and stands_in(value, whole[name]) for name, value in part.items())
        case list(), list():
            return len(part) == len(whole) and all(map(stands_in, part, whole))
        case _:
            return bool(part == whole)
