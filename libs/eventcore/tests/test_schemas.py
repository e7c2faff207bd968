"""Schemas on file: a type can't change without a new version, and what was written once stays readable."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped] # it ships no types
from pydantic import Field, create_model

from eventcore import Event, Origin, encode
from eventcore.events.event import Data, Value
from eventcore.schemas import check, data_schema, envelope_schema, event_schema, write_schemas

Upcasters = Mapping[int, Any]


def sold(version: str = "1.0", upcasters: Upcasters | None = None, **fields: Any) -> type[Event]:
    """An event of the type `shop.sold` with these fields: required ones, or pairs of type and default."""
    line = {"type": "shop.sold", "version": version, "stream": "shop_stream", "upcasters": upcasters}
    pairs: dict[str, Any] = {name: each if isinstance(each, tuple) else (each, ...) for name, each in fields.items()}
    made: type[Event] = create_model("Sold", __base__=Event, __cls_kwargs__=line, **pairs)
    return made


OPTIONAL = (str | None, None)
FIRST = sold(product=str)


def rename(data: Data) -> Data:
    return {"product_id": data["product"]}


def keep_example(folder: Path, version: str, data: Data, **changed: Any) -> None:
    """Have one golden example of this version."""
    metadata = {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z", "version": version}
    example = {"type": "shop.sold", "data": data, "metadata": metadata, **changed}
    (folder / "shop.sold" / f"{version}.examples.json").write_text(json.dumps([example]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the first version, with an example: as they should be."""
    write_schemas([FIRST], tmp_path)
    keep_example(tmp_path, "1.0", {"product": "tea"})
    assert check([FIRST], tmp_path) == []
    return tmp_path


def only(problems: list[str]) -> str:
    [problem] = problems
    return problem


def test_what_is_on_file_is_the_schema_of_the_data(folder: Path) -> None:
    on_file = json.loads((folder / "shop.sold/1.0.json").read_text())
    assert on_file == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shop.sold 1.0",
        "$comment": "In shop_stream.",
        "type": "object",
        "required": ["product"],
        "properties": {"product": {"type": "string"}},
    }


class Card(Value):
    """Paid by card."""

    way: Literal["card"]


class Cash(Value):
    """Paid in cash."""

    way: Literal["cash"]


def test_schemas_have_no_keyword_that_a_strict_validator_refuses() -> None:
    event = sold(title=str, paid=(Card | Cash, Field(discriminator="way")), note=OPTIONAL, sizes=tuple[int, str])
    whole = event_schema(event, data_schema(event))
    assert set(keywords(whole)) <= KEYWORDS
    assert not any(isinstance(each.get("type"), list) for each in subschemas(whole)), "refused by Ajv's strictTypes"
    Draft202012Validator.check_schema(whole)


VOCABULARIES = ("core", "applicator", "validation", "meta-data", "format-annotation")
KEYWORDS = {
    name
    for vocabulary in VOCABULARIES
    for name in REGISTRY.contents(f"https://json-schema.org/draft/2020-12/meta/{vocabulary}")["properties"]
}


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    yield schema
    for name in ("properties", "$defs"):
        for each in schema.get(name, {}).values():
            yield from subschemas(each)
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for each in schema.get(name, ()):
            yield from subschemas(each)
    if isinstance(schema.get("items"), dict):
        yield from subschemas(schema["items"])


def keywords(schema: dict[str, Any]) -> Iterator[str]:
    for each in subschemas(schema):
        yield from each


def test_an_additive_change_without_a_new_version_is_found_and_a_minor_advised(folder: Path) -> None:
    assert only(check([sold(product=str, note=OPTIONAL)], folder)) == (
        "Sold is no longer what shop.sold 1.0 is on file:\n"
        "  data.note: is new and optional\n"
        'This only adds: give Sold version="1.1".'
    )


def test_a_breaking_change_without_a_new_version_is_found_and_a_major_advised(folder: Path) -> None:
    assert only(check([sold(product=int)], folder)) == (
        "Sold is no longer what shop.sold 1.0 is on file:\n"
        "  data.product: was 'string', is 'integer'\n"
        "This breaks programs that run now, or events that are in streams: "
        'give Sold version="2.0" and an upcaster from 1.'
    )


def test_a_changed_type_is_not_written_over_what_is_on_file(folder: Path) -> None:
    before = (folder / "shop.sold/1.0.json").read_text()
    assert "is no longer what" in only(write_schemas([sold(product=int)], folder))
    assert (folder / "shop.sold/1.0.json").read_text() == before


def test_a_minor_that_only_adds_is_written_and_wants_an_example(folder: Path) -> None:
    newer = sold("1.1", product=str, note=OPTIONAL)
    assert "1.1.json is missing" in only(check([newer], folder))
    assert "1.1.examples.json is missing: put whole events" in only(write_schemas([newer], folder))
    keep_example(folder, "1.1", {"product": "tea", "note": "a gift"})
    assert check([newer], folder) == []


@pytest.mark.parametrize("fields", [{}, {"product": int}, {"product": str, "note": str}, {"product": OPTIONAL}])
def test_a_minor_that_does_more_than_to_add_is_refused(folder: Path, fields: dict[str, Any]) -> None:
    newer = sold("1.1", **fields)
    problem = only(write_schemas([newer], folder))
    assert problem.startswith("shop.sold 1.1 can't be a minor version after 1.0:\n  data.")
    assert problem.endswith('give Sold version="2.0" and an upcaster from 1.')
    assert not (folder / "shop.sold/1.1.json").exists()


def test_a_minor_on_file_that_does_more_than_to_add_is_found_too(folder: Path) -> None:
    newest = sold("1.2", product=str, note=OPTIONAL)
    by_hand = {**data_schema(sold("1.1", product=str, note=OPTIONAL)), "required": ["product", "note"]}
    (folder / "shop.sold/1.1.json").write_text(json.dumps(by_hand))
    keep_example(folder, "1.1", {"product": "tea", "note": "a gift"})
    problems = "\n".join(check([newest], folder))
    assert "shop.sold 1.1 can't be a minor version after 1.0:\n  data.note: is new and required" in problems


def test_a_major_may_change_everything_if_what_is_on_file_stays_readable(folder: Path) -> None:
    write_schemas([sold("2.0", {1: rename}, product_id=str)], folder)
    keep_example(folder, "2.0", {"productId": "tea"})
    assert "must stay readable for ever, but Sold says: data.productId: Field required" in only(
        check([sold("2.0", {1: rename}, product_id=str)], folder)
    )
    mended = sold("2.0", {1: lambda data: {"productId": data["product"]}}, product_id=str)
    assert check([mended], folder) == []


def test_versions_do_not_go_back(folder: Path) -> None:
    write_schemas([sold("1.1", product=str)], folder)
    keep_example(folder, "1.1", {"product": "tea"})
    assert "shop.sold is at 1.0, but 1.1 is on file: versions don't go back" in check([FIRST], folder)


def test_a_version_that_was_deleted_is_missed(folder: Path) -> None:
    newer = sold("1.1", product=str)
    write_schemas([newer], folder)
    keep_example(folder, "1.1", {"product": "tea"})
    (folder / "shop.sold/1.0.json").unlink()
    assert "1.0.json is missing: events of that version may stand in streams" in only(check([newer], folder))


def test_other_words_are_written_without_a_new_version(folder: Path) -> None:
    class Sold(Event, type="shop.sold", stream="shop_stream"):
        """Something was sold."""

        product: str

    assert "its words are not those of the class: write it" in only(check([Sold], folder))
    assert write_schemas([Sold], folder) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": {}}, "must stay readable for ever, but Sold says: data.product: Field required"),
        (
            {"metadata": {}},
            "must stay readable for ever, but Sold says: metadata.eventId: missing",
        ),
        ({"type": "shop.bought"}, "is an event of shop.bought 1.0"),
    ],
)
def test_an_example_that_is_not_what_it_should_be_is_named(folder: Path, changed: dict[str, Any], said: str) -> None:
    keep_example(folder, "1.0", **{"data": {"product": "tea"}, **changed})
    assert only(check([FIRST], folder)).startswith(f"{folder / 'shop.sold/1.0.examples.json'}[0] {said}")


def test_a_type_that_no_class_has_any_more_is_named(folder: Path) -> None:
    assert "shop.sold is on file, but no event is of this type" in only(check([], folder))


def test_an_envelope_that_eventcore_does_not_read_is_found(folder: Path) -> None:
    (folder / "envelope.json").write_text("{}")
    assert "envelope.json is not what eventcore reads" in only(check([FIRST], folder))


def test_every_event_as_it_is_written_fits_its_schemas() -> None:
    written = json.loads(encode(FIRST.model_validate({"product": "tea"}), Origin.new("test")))
    Draft202012Validator(envelope_schema()).validate(written)
    Draft202012Validator(event_schema(FIRST, data_schema(FIRST))).validate(written)


@pytest.mark.parametrize("schema", [data_schema(FIRST), envelope_schema(), event_schema(FIRST, data_schema(FIRST))])
def test_schemas_are_schemas(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


def test_the_command_checks_and_writes_all_events_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from eventcore import Event\nclass Sold(Event, type='shop.sold', stream='s'):\n    product: str\n"
    )
    command = [sys.executable, "-m", "eventcore.schemas"]

    def run(action: str) -> subprocess.CompletedProcess[str]:
        arguments = [*command, action, "shop", "files"]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1.0.json is missing" in run("check").stderr
    assert run("write").returncode == 1
    keep_example(tmp_path / "files", "1.0", {"product": "tea"})
    done = run("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
