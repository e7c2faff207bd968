"""Event classes: wrong declarations fail at import, data is read tolerantly and lifted from older versions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import Event, Undecodable, UnsupportedVersion, Value, Version
from eventcore.events.event import Data


def rename_id(data: Data) -> Data:
    return {**{key: value for key, value in data.items() if key != "id"}, "orderId": data["id"]}


def wrap_item(data: Data) -> Data:
    return {**data, "items": [data["item"]]}


class Item(Value):
    product_id: str
    quantity: int


class Paid(Event, type="sample.paid", version="1.2", stream="s_stream", lane="order_id"):
    order_id: str
    items: tuple[Item, ...] = ()
    note: str | None = None


class Moved(Event, type="sample.moved", version="3.0", stream="s_stream", upcasters={1: rename_id, 2: wrap_item}):
    order_id: str
    items: list[str]


def declare(name: str, *, field: str = "order_id", **line: Any) -> None:
    """An event class with one field, and this in its class line."""
    metaclass: Any = type(Event)
    metaclass(name, (Event,), {"__module__": __name__, "__annotations__": {field: str}}, **line)


def test_a_missing_upcaster_is_found_at_import() -> None:
    with pytest.raises(TypeError, match=r"^Late is at version 3\.1 but lacks an upcaster from 2$"):

        class Late(Event, type="sample.late", version="3.1", stream="s", upcasters={1: rename_id}):
            pass


@pytest.mark.parametrize(
    "name", ["order", "Order.created", "order.", ".created", "order created", "order.created\n", ""]
)
def test_a_type_that_is_not_dotted_lower_case_is_found_at_import(name: str) -> None:
    with pytest.raises(TypeError, match="is not an event type like"):

        class Odd(Event, type=name, stream="s"):
            pass


def test_a_lane_that_is_no_field_is_found_at_import() -> None:
    with pytest.raises(TypeError, match="Strayed has no field 'customer' to be its lane"):

        class Strayed(Event, type="sample.strayed", stream="s", lane="customer"):
            order_id: str


@pytest.mark.parametrize("version", ["1", "1.", ".1", "v1.0", "1.0.0", "-1.0", "1.x", "¹.0", ""])
def test_a_version_that_is_not_major_dot_minor_is_found_at_import(version: str) -> None:
    with pytest.raises(TypeError, match=r"Odd: .* is not a version like '1\.0'"):

        class Odd(Event, type="sample.odd", version=version, stream="s"):
            pass


@pytest.mark.parametrize("left_out", ["type", "stream"])
def test_a_class_line_without_type_or_stream_is_found_at_import(left_out: str) -> None:
    line: dict[str, Any] = {name: value for name, value in {"type": "a.b", "stream": "s"}.items() if name != left_out}
    with pytest.raises(TypeError, match=left_out):
        declare("Unfinished", **line)


def test_a_misspelt_argument_in_the_class_line_is_found_at_import() -> None:
    with pytest.raises(TypeError, match="lanes"):
        declare("Misspelt", type="a.b", stream="s", lanes="order_id")


@pytest.mark.parametrize("name", ["type", "version", "stream", "lane", "upcasters"])
def test_a_field_that_would_hide_what_the_event_is_is_found_at_import(name: str) -> None:
    with pytest.raises(TypeError, match=f"Hiding: a field can't be called '{name}'"):
        declare("Hiding", field=name, type="a.b", stream="s")


def test_data_of_the_current_version_is_read_in_camel_case() -> None:
    event = Paid.read({"orderId": "7", "items": [{"productId": "11", "quantity": 2}]}, Version(1, 2))
    assert event == Paid(order_id="7", items=(Item(product_id="11", quantity=2),))


def test_unknown_fields_and_a_newer_minor_version_are_read_over() -> None:
    assert Paid.read({"orderId": "7", "colour": "red"}, Version(1, 9)) == Paid(order_id="7")


def test_older_major_versions_are_lifted_one_after_another() -> None:
    assert Moved.read({"id": "7", "item": "book"}, Version(1, 5)) == Moved(order_id="7", items=["book"])
    assert Moved.read({"orderId": "7", "item": "book"}, Version(2, 0)) == Moved(order_id="7", items=["book"])
    assert Moved.read({"orderId": "7", "items": ["pen"]}, Version(3, 0)) == Moved(order_id="7", items=["pen"])


def test_a_newer_major_version_is_not_understood() -> None:
    with pytest.raises(UnsupportedVersion, match=r"sample\.paid 2\.0 is newer than 1\.2"):
        Paid.read({"orderId": "7"}, Version(2, 0))


def test_a_major_version_that_never_was_is_undecodable() -> None:
    with pytest.raises(Undecodable, match=r"metadata\.version: sample\.paid has no version 0"):
        Paid.read({"orderId": "7"}, Version(0, 9))


def test_an_upcaster_that_stumbles_over_data_makes_it_undecodable() -> None:
    with pytest.raises(Undecodable, match=r"data: sample\.moved 2\.x could not be upcast: KeyError: 'item'"):
        Moved.read({"orderId": "7"}, Version(2, 0))


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({}, "data.orderId: Field required"),
        ({"orderId": 7}, "data.orderId: Input should be a valid string"),
        ({"orderId": "7", "items": [{"productId": "11", "quantity": "x"}]}, "data.items.0.quantity: "),
        ({"items": [{}]}, r"data.orderId: Field required \(and 2 more\)"),
    ],
)
def test_data_that_does_not_fit_names_the_field(data: Data, place: str) -> None:
    with pytest.raises(Undecodable, match=f"^{place}"):
        Paid.read(data, Version(1, 2))


def test_an_event_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Paid(order_id="7").order_id = "8"  # type: ignore[misc]


def test_the_lane_key_is_the_named_field_as_text() -> None:
    class Free(Event, type="sample.free", stream="s"):
        pass

    assert Paid(order_id="7").lane_key() == "7"
    assert Free().lane_key() is None


def test_an_event_whose_lane_field_is_empty_stands_in_no_lane() -> None:
    class Guest(Event, type="sample.guest", stream="s", lane="customer"):
        customer: str | None = None

    assert Guest().lane_key() is None


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_version_reads_what_it_writes(major: int, minor: int) -> None:
    assert Version.parse(str(Version(major, minor))) == Version(major, minor)


@given(st.text())
def test_parsing_a_version_raises_nothing_but_value_errors(text: str) -> None:
    with suppress(ValueError):
        assert Version.parse(text) >= Version(0, 0)
