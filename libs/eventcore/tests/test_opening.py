"""Opening in one pass: what it takes is what taking the envelope apart would give; all else it leaves alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import Event, Origin, decode, encode
from eventcore.opening import Opener

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
        "metadata": metadata(),
    } | changed
    return {b"event": json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()}


def metadata(**changed: Any) -> dict[str, Any]:
    inherited = dict.fromkeys(("correlationId", "causationId", "source", "traceparent"))
    return {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z", "version": "1.0", **inherited} | changed


@pytest.mark.parametrize("event", [Ordered(order_id="7", customer="Zoë"), Shipped(order_id="7"), Measured(degrees=1)])
def test_what_is_written_is_opened_in_one_pass(event: Event) -> None:
    opened = OPENER.open({b"event": encode(event, Origin.new("shop"), event_id="e-1")})

    assert opened is not None
    assert (opened.type, opened.data, opened.metadata.event_id) == (event.type, event, "e-1")


def test_what_other_programs_write_with_all_metadata_is_opened_in_one_pass() -> None:
    assert OPENER.open(entry()) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"event": b"{"},
        entry(type="sample.unknown"),
        entry(type=...),
        entry(more=1),
        entry(data={"orderId": "7", "colour": "red"}),
        entry(metadata={"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z"}),
        entry(data={}),
        entry(metadata=...),
        entry(metadata=metadata(eventId="")),
        entry(metadata=metadata(timestamp="2026-11-23T10:00:00")),
        entry(metadata=metadata(timestamp=1_795_428_000)),
        entry(metadata=metadata(version="2.0")),
        entry(metadata=metadata(version="1.x")),
        entry(type="sample.measured", data={"degrees": 1}, metadata=metadata(version="1.0")),
        entry(type="sample.measured", data={"degrees": float("nan")}, metadata=metadata(version="2.0")),
    ],
    ids=str,
)
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
    fields = {b"event": json.dumps(content).encode()}
    opened = OPENER.open(fields)
    if opened is None:
        return
    envelope = decode(fields)
    assert opened.type == envelope.type
    assert opened.metadata == envelope.metadata
    assert opened.data == envelope.open(CLASSES[envelope.type])
