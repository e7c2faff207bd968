"""Each kind of change to an event is seen, named, and told to be additive or breaking."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from eventcore import Event, Value
from eventcore.schemas import Change, compare, data_schema
from eventcore.schemas import ChangeKind as Kind


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Hue(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class Line(Value):
    product_id: str
    quantity: int


class LineWithNote(Value):
    product_id: str
    quantity: int
    note: str | None = None


class LineOfText(Value):
    product_id: str
    quantity: str


class Tree(Value):
    name: str
    parent: Tree | None = None
    branches: tuple[Tree, ...] = ()


class OtherTree(Value):
    name: int
    parent: OtherTree | None = None
    branches: tuple[OtherTree, ...] = ()


def event(stream: str = "s_stream", **fields: Any) -> type[Event]:
    """An event with these fields, each a type (then it is required) or a pair of type and default."""
    line = {"type": "sample.sold", "stream": stream}
    pairs: dict[str, Any] = {name: each if isinstance(each, tuple) else (each, ...) for name, each in fields.items()}
    made: type[Event] = create_model("Sold", __base__=Event, __cls_kwargs__=line, **pairs)
    return made


def changes(old: Any, new: Any) -> list[Change]:
    """What `compare` says of one field that is first this and then that (or not there)."""
    before, after = (event(**({} if each is None else {"field": each})) for each in (old, new))
    return compare(data_schema(before), data_schema(after))


def number(**limits: Any) -> Any:
    return Annotated[int, Field(**limits)]


def text(**limits: Any) -> Any:
    return Annotated[str, Field(**limits)]


ROWS: dict[str, tuple[Any, Any, Kind, str]] = {
    "new and optional": (None, (str | None, None), Kind.ADDED, "data.field: is new and optional"),
    "new and required": (None, str, Kind.REQUIRED, "data.field: is new and required"),
    "removed": (str, None, Kind.REMOVED, "data.field: was removed"),
    "optional and removed": ((str | None, None), None, Kind.REMOVED, "data.field: was removed"),
    "newly required": ((str, "x"), str, Kind.REQUIRED, "data.field: could be left out, and is required now"),
    "no longer required": (str, (str, "x"), Kind.WIDENED, "data.field: was required, and may be left out now"),
    "another type": (int, str, Kind.RETYPED, "data.field: was 'integer', is 'string'"),
    "a number of another kind": (int, float, Kind.RETYPED, "data.field: was 'integer', is 'number'"),
    "a list instead of one": (str, list[str], Kind.RETYPED, "data.field: was 'string', is 'array'"),
    "another type in a list": (list[int], list[str], Kind.RETYPED, "data.field[]: was 'integer', is 'string'"),
    "another type in a map": (dict[str, int], dict[str, str], Kind.CHANGED, "data.field: additionalProperties was "),
    "null no more": (str | None, str, Kind.NARROWED, "data.field: may not be null any more"),
    "null from now on": (str, str | None, Kind.WIDENED, "data.field: may be null now"),
    "a value less": (Hue, Colour, Kind.NARROWED, "data.field: may not be 'green' any more"),
    "a value more": (Colour, Hue, Kind.WIDENED, "data.field: may be 'green' now"),
    "only some values": (str, Colour, Kind.NARROWED, "data.field: may only be 'red', 'blue'"),
    "any value": (Literal["a"], str, Kind.WIDENED, "data.field: may no longer only be 'a'"),
    "another constant": (Literal["a"], Literal["b"], Kind.NARROWED, "data.field: may not be 'a' any more"),
    "a higher minimum": (number(ge=0), number(ge=1), Kind.NARROWED, "data.field: minimum was 0, is 1"),
    "a lower minimum": (number(ge=1), number(ge=0), Kind.WIDENED, "data.field: minimum was 1, is 0"),
    "a minimum": (int, number(gt=0), Kind.NARROWED, "data.field: exclusiveMinimum was anything, is 0"),
    "no maximum": (number(lt=9), int, Kind.WIDENED, "data.field: exclusiveMaximum was 9, is anything"),
    "a lower maximum": (number(le=9), number(le=8), Kind.NARROWED, "data.field: maximum was 9, is 8"),
    "a higher maximum": (number(le=9), number(le=10), Kind.WIDENED, "data.field: maximum was 9, is 10"),
    "shorter text": (text(max_length=9), text(max_length=8), Kind.NARROWED, "data.field: maxLength was 9, is 8"),
    "longer text": (str, text(min_length=2), Kind.NARROWED, "data.field: minLength was anything, is 2"),
    "another pattern": (text(pattern="a"), text(pattern="b"), Kind.CHANGED, "data.field: pattern was 'a', is 'b'"),
    "another default": ((int, 1), (int, 2), Kind.CHANGED, "data.field: default was 1, is 2"),
    "fewer items": (
        Annotated[list[str], Field(max_length=3)],
        Annotated[list[str], Field(max_length=2)],
        Kind.NARROWED, "data.field: maxItems was 3, is 2",
    ),
    "one more alternative": (int | str, int | str | bool, Kind.RETYPED, "data.field: could be one of 2 things"),
    "another alternative": (int | str, int | bool, Kind.RETYPED, "data.field: was 'string', is 'boolean'"),
    "optional and retyped": (int | None, str | None, Kind.RETYPED, "data.field: was 'integer', is 'string'"),
    "deep inside": (list[Line], list[LineOfText], Kind.RETYPED, "data.field[].quantity: was 'integer', is 'string'"),
    "new deep inside": (list[Line], list[LineWithNote], Kind.ADDED, "data.field[].note: is new and optional"),
    "gone deep inside": (list[LineWithNote], list[Line], Kind.REMOVED, "data.field[].note: was removed"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "kind", "said"), ROWS.values(), ids=ROWS)
def test_the_change_is_seen(old: Any, new: Any, kind: Kind, said: str) -> None:
    first = changes(old, new)[0]
    assert first.kind is kind
    assert str(first).startswith(said)


def test_only_what_older_programs_ignore_and_newer_ones_can_do_without_is_not_breaking() -> None:
    kinds = {kind: changes(old, new)[0].breaking for old, new, kind, _ in ROWS.values()}
    assert kinds == {kind: kind is not Kind.ADDED for kind in Kind}


@pytest.mark.parametrize(
    "field", [str, (int | None, None), list[Line], Tree, (Tree | None, None), dict[str, Line], Hue]
)
def test_nothing_is_seen_where_nothing_has_changed(field: Any) -> None:
    assert changes(field, field) == []


def test_words_may_change() -> None:
    described = Annotated[str, Field(description="in words", examples=["a"], title="Field", deprecated=True)]
    assert changes(str, described) == []


def test_a_model_that_contains_itself_is_compared_once() -> None:
    assert [str(change) for change in changes(Tree, OtherTree)] == ["data.field.name: was 'string', is 'integer'"]


def test_the_name_of_a_model_does_not_matter() -> None:
    class Renamed(Value):
        product_id: str
        quantity: int

    assert changes(list[Line], list[Renamed]) == []


def test_all_changes_are_told() -> None:
    before = event(a=str, b=int, c=str)
    after = event(a=int, b=int, d=str, e=(str | None, None))
    assert [str(change) for change in compare(data_schema(before), data_schema(after))] == [
        "data.a: was 'string', is 'integer'",
        "data.c: was removed",
        "data.d: is new and required",
        "data.e: is new and optional",
    ]


def test_another_stream_is_another_event_to_all_that_read_it() -> None:
    [change] = compare(data_schema(event("a_stream")), data_schema(event("b_stream")))
    assert str(change) == "data: $comment was 'In a_stream.', is 'In b_stream.'"
    assert change.breaking


def test_a_field_called_title_keeps_its_schema() -> None:
    assert data_schema(event(title=str))["properties"] == {"title": {"type": "string"}}
