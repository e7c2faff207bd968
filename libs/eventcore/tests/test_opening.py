"""Opening in one pass: what it takes is what taking the envelope apart would give; all else it leaves alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import Event, Origin, decode, encode
from eventcore.events.canonical import Opener
from eventcore.events.envelope import LARGEST_EVENT

from .samples import Ordered, Shipped


class Measured(Event, type="sample.measured", version="2.1", stream="measures_stream", upcasters={1: dict}):
    """A number, and what nobody can say the type of."""

    degrees: float
    note: Any = None


OPENER = Opener([Ordered, Shipped, Measured])
CLASSES: dict[str, type[Event]] = {each.type: each for each in (Ordered, Shipped, Measured)}


def entry(**changed: Any) -> dict[bytes, bytes]:
    """An ordinary event with members of its envelope changed, or left out where they are `...`."""
    whole = {
        "type": "sample.ordered",
        "data": {"orderId": "7"},
        "metadata": {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z"},
    } | changed
    return written({name: value for name, value in whole.items() if value is not ...})


def written(content: dict[str, Any]) -> dict[bytes, bytes]:
    """As most programs write JSON: without a space."""
    return {b"event": json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")}


def metadata(**changed: Any) -> dict[str, Any]:
    return {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z"} | changed


@pytest.mark.parametrize("event", [Ordered(order_id="7", customer="Zoë"), Shipped(order_id="7"), Measured(degrees=1)])
def test_what_is_written_is_opened_in_one_pass(event: Event) -> None:
    opened = OPENER.open({b"event": encode(event, Origin.new("shop"), event_id="e-1")})

    assert opened is not None
    assert (opened.type, opened.event, opened.metadata.event_id) == (event.type, event, "e-1")


def test_what_other_programs_write_is_opened_in_one_pass() -> None:
    assert OPENER.open(entry()) is not None
    assert OPENER.open(entry(data={"orderId": "7", "customer": "Zoë"})) is not None


UNUSUAL = {
    "no event": {},
    "no JSON": {b"event": b"{"},
    "an unknown type": entry(type="sample.unknown"),
    "no type": entry(type=...),
    "a field missing": entry(data={}),
    "no metadata": entry(metadata=...),
    "an empty id": entry(metadata=metadata(eventId="")),
    "an unknown field": entry(data={"orderId": "7", "colour": "red"}),
    "an unknown member": entry(more=1),
    "a field twice": {b"event": entry()[b"event"].replace(b'"orderId":', b'"orderId":"6","orderId":')},
    "an id twice": {b"event": entry()[b"event"].replace(b'"eventId":', b'"eventId":"e-0","eventId":')},
    "spaces": {b"event": entry()[b"event"].replace(b'"data":', b'"data": ')},
    "too much": entry(data={"orderId": "7" * LARGEST_EVENT}),
    "a time as a number": entry(metadata=metadata(timestamp=1_795_428_000)),
    "a newer version": entry(metadata=metadata(version="2.0")),
    "an older version": entry(type="sample.measured", data={"degrees": 1.0}, metadata=metadata(version="1.0")),
    "no version": entry(metadata=metadata(version="1.x")),
    "no number": entry(type="sample.measured", data={"degrees": float("nan")}, metadata=metadata(version="2.0")),
}


@pytest.mark.parametrize("fields", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_left_to_a_closer_look(fields: dict[bytes, bytes]) -> None:
    assert OPENER.open(fields) is None


def test_an_opener_for_no_events_or_for_one_works_as_well() -> None:
    assert Opener([]).open(entry()) is None
    assert Opener([Ordered]).open(entry()) is not None
    assert Opener([Shipped]).open(entry()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
TEXT = st.text(max_size=10)
DATA = st.fixed_dictionaries(
    {}, optional={"orderId": TEXT | JSON, "customer": TEXT | JSON, "degrees": JSON, "note": JSON}
)
METADATA = st.fixed_dictionaries(
    {"eventId": TEXT | JSON, "timestamp": st.datetimes().map(lambda at: f"{at.isoformat()}Z") | JSON},
    optional={
        "version": st.sampled_from(["1.0", "1.7", "2.0", "2.9", "0.1", "", "1"]) | JSON,
        "traceparent": TEXT | JSON,
        "correlationId": TEXT | JSON,
        "tracestate": st.none(),
    },
)


@given(st.fixed_dictionaries({"type": st.sampled_from([*CLASSES]) | JSON, "data": DATA, "metadata": METADATA}))
def test_both_ways_give_the_same(content: dict[str, Any]) -> None:
    fields = written(content)
    opened = OPENER.open(fields)
    if opened is None:
        return
    envelope = decode(fields)
    assert opened.type == envelope.type
    assert opened.metadata == envelope.metadata
    assert opened.event == envelope.open(CLASSES[envelope.type])
