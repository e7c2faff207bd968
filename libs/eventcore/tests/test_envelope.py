"""The envelope: what is written is read back, and whatever else stands in an entry is refused by naming the field."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventcore import Origin, Undecodable, UnsupportedVersion, Version, decode, encode, new_id, timestamp
from eventcore.events.envelope import LARGEST_EVENT, Envelope

from .samples import Ordered

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ORIGIN = Origin("shop", TRACE, f"00-{TRACE}-00f067aa0ba902b7-01", "vendor=1", "cause-1")


def envelope(**changed: Any) -> dict[str, Any]:
    """The least that the contract asks of an envelope, with members changed, or left out where they are `...`."""
    whole: dict[str, Any] = {
        "type": "sample.ordered",
        "data": {"orderId": "7"},
        "metadata": {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z"},
    }
    whole.update(changed)
    return {name: value for name, value in whole.items() if value is not ...}


def metadata(**changed: Any) -> dict[str, Any]:
    return {**envelope()["metadata"], **changed}


def read(content: object) -> Envelope:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return decode({b"event": raw})


def test_what_is_written_is_read_back() -> None:
    event = Ordered(order_id="7", customer="Zoë \N{PARTY POPPER}\x00")
    found = decode({b"event": encode(event, ORIGIN, event_id="e-1")})

    assert found.open(Ordered) == event
    assert (found.type, found.version) == ("sample.ordered", Version(1, 1))
    assert found.metadata.event_id == "e-1"
    assert found.metadata.correlation_id == TRACE
    assert found.metadata.causation_id == "cause-1"
    assert found.metadata.source == "shop"
    assert found.metadata.traceparent == ORIGIN.traceparent
    assert found.metadata.tracestate == "vendor=1"
    assert datetime.now(UTC) - found.metadata.timestamp < timedelta(minutes=1)


def test_on_the_wire_it_looks_as_the_contract_has_it() -> None:
    written = json.loads(encode(Ordered(order_id="7"), ORIGIN, event_id="e-1"))

    assert list(written) == ["type", "data", "metadata"]
    assert written["type"] == "sample.ordered"
    assert written["data"] == {"orderId": "7"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written["metadata"].pop("timestamp"))
    assert written["metadata"] == {
        "eventId": "e-1",
        "version": "1.1",
        "correlationId": TRACE,
        "causationId": "cause-1",
        "source": "shop",
        "traceparent": ORIGIN.traceparent,
        "tracestate": "vendor=1",
    }


def test_all_metadata_but_tracestate_is_always_present_on_the_way_out() -> None:
    written = json.loads(encode(Ordered(order_id="7"), Origin.new("shop")))["metadata"]
    assert set(written) == {
        "eventId", "timestamp", "version", "correlationId", "causationId", "source", "traceparent"
    }  # fmt: skip
    assert written["causationId"] is None


TEXT = st.text(max_size=10)
EVERY_CHARACTER = "".join(map(chr, range(0xD800)))


@given(TEXT, TEXT, st.builds(Origin, TEXT, TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT))
@example(EVERY_CHARACTER, "", Origin("shop", TRACE, "", baggage=EVERY_CHARACTER))
def test_its_bytes_are_those_of_compact_json_in_utf8_in_the_order_of_the_contract(
    order_id: str, event_id: str, origin: Origin
) -> None:
    raw = encode(Ordered(order_id=order_id), origin, f"e{event_id}")
    about = {
        "eventId": f"e{event_id}",
        "timestamp": json.loads(raw)["metadata"]["timestamp"],
        "version": "1.1",
        "correlationId": origin.correlation_id,
        "causationId": origin.causation_id,
        "source": origin.source,
        "traceparent": origin.traceparent,
    }
    about |= {name: value for name in ("tracestate", "baggage") if (value := getattr(origin, name))}
    content = {"type": "sample.ordered", "data": {"orderId": order_id}, "metadata": about}
    assert raw == json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def test_an_id_may_be_of_a_type_of_its_own() -> None:
    class OrderId(str):
        """A kind of text."""

        __slots__ = ()

    assert read(encode(Ordered(order_id="7"), ORIGIN, event_id=OrderId("e-1"))).metadata.event_id == "e-1"


@pytest.mark.parametrize(
    "given", [{"event_id": "\ud800"}, {"origin": Origin("\udfff", TRACE, "")}], ids=["id", "source"]
)
def test_what_utf8_has_no_bytes_for_is_not_written(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode(Ordered(order_id="7"), **{"origin": ORIGIN} | given)


def test_the_required_members_are_enough() -> None:
    found = read(envelope())
    assert found.version == Version(1, 0)
    assert found.metadata.correlation_id is None
    assert found.open(Ordered) == Ordered(order_id="7")


def test_an_empty_text_is_as_good_as_none() -> None:
    optional = ("version", "correlationId", "causationId", "source", "traceparent", "tracestate", "baggage")
    assert read(envelope(metadata=metadata(**dict.fromkeys(optional, "")))).metadata == read(envelope()).metadata


def test_unknown_members_are_ignored_everywhere() -> None:
    found = read(envelope(more=1, metadata=metadata(more=[1]), data={"orderId": "7", "more": {}}))
    assert found.open(Ordered) == Ordered(order_id="7")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "event: not JSON"),
        (b"{", "event: not JSON"),
        (b"\xff\xfe", "event: not JSON"),
        (b'{"type": "\xff"}', "event: not JSON"),
        (b'{"type": "\\ud800"}', "event: not JSON"),
        (b'{"data": NaN}', "event: not JSON"),
        (b'{"data": -Infinity}', "event: not JSON"),
        (b'{"data": ' + b"9" * 10_000 + b"}", "event: not JSON"),
        (b"[" * 100_000, "event: not JSON"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "event: not JSON"),
        (b"[]", "event: not a JSON object"),
        (b'"text"', "event: not a JSON object"),
        (b"null", "event: not a JSON object"),
        (envelope(type=...), "type: missing"),
        (envelope(type=7), "type: not a string"),
        (envelope(type=None), "type: not a string"),
        (envelope(data=...), "data: missing"),
        (envelope(data=[]), "data: not an object"),
        (envelope(metadata=...), "metadata: missing"),
        (envelope(metadata="x"), "metadata: not an object"),
        (envelope(metadata={"timestamp": "2026-11-23T10:00:00Z"}), "metadata.eventId: missing"),
        (envelope(metadata={"eventId": "e"}), "metadata.timestamp: missing"),
        (envelope(metadata=metadata(eventId="")), "metadata.eventId: "),
        (envelope(metadata=metadata(eventId=7)), "metadata.eventId: "),
        (envelope(metadata=metadata(eventId="x" * 201)), "metadata.eventId: "),
        (envelope(metadata=metadata(timestamp="yesterday")), "metadata.timestamp: "),
        (envelope(metadata=metadata(timestamp={})), "metadata.timestamp: "),
        (envelope(metadata=metadata(version=1.0)), "metadata.version: "),
        (envelope(metadata=metadata(version="1")), "metadata.version: '1' is not a version"),
        (envelope(metadata=metadata(version="9" * 5000 + ".0")), "metadata.version: "),
        (envelope(metadata=metadata(correlationId={})), "metadata.correlationId: "),
    ],
)
def test_what_is_missing_or_wrong_is_named(content: object, named: str) -> None:
    with pytest.raises(Undecodable, match=f"^{re.escape(named)}"):
        read(content)


def test_an_entry_without_the_field_event_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="event: the entry has no such field"):
        decode({b"Event": b"{}"})


@pytest.mark.parametrize(
    ("once", "twice", "named"),
    [
        ('"type": "sample.ordered"', '"type": "sample.ordered", "type": "sample.ordered"', "type"),
        ('"orderId": "7"', '"orderId": "7", "order\\u0049d": "8"', "data.orderId"),
        ('"eventId": "e-1"', '"eventId" : "e-1",\n"eventId" : "e-2"', "metadata.eventId"),
        ('"orderId": "7"', '"orderId": "7", "more": [{"deep": {"a": 1, "b": 2, "a": 3}}]', "data.more.0.deep.a"),
        ('"orderId": "7"', '"orderId": "7", "": 1, "": 1', "data."),
        ('"orderId": "7"', '"orderId": "7", "orderId": "\\u003a"', "data.orderId"),
    ],
)
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")], ids=["spaced", "compact"])
def test_a_member_that_stands_twice_is_named(once: str, twice: str, named: str, separators: tuple[str, str]) -> None:
    comma, colon = separators
    raw, once = (text.replace(", ", comma).replace(": ", colon) for text in (json.dumps(envelope()), once))
    assert once in raw
    read(raw.encode())
    with pytest.raises(Undecodable, match=f"^{re.escape(named)}: stands twice in one object$"):
        read(raw.replace(once, twice.replace(", ", comma).replace(": ", colon)).encode())


def test_equal_names_in_different_objects_are_as_they_should_be() -> None:
    found = read(envelope(data={"orderId": "7", "more": [{"type": 1}, {"type": 1, "data": {"type": 2}}]}))
    assert found.open(Ordered) == Ordered(order_id="7")


def test_an_event_that_is_too_large_is_not_even_parsed() -> None:
    whole = json.dumps(envelope(data={"orderId": "7", "more": ""}))
    fits = whole.replace('"more": "', '"more": "' + "x" * (LARGEST_EVENT - len(whole))).encode()
    assert len(fits) == LARGEST_EVENT
    assert read(fits).open(Ordered) == Ordered(order_id="7")
    with pytest.raises(Undecodable, match=r"^event: 524289 bytes, where 524288 are the most$"):
        read(fits + b" ")


def test_an_event_that_nobody_would_read_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"^sample\.ordered: \d+ bytes, where 524288 are the most$"):
        encode(Ordered(order_id="x" * LARGEST_EVENT), ORIGIN)


def test_a_number_beyond_all_floats_is_no_reason_to_stumble() -> None:
    found = read(json.dumps(envelope(data={"orderId": "7", "huge": 0})).replace("0}", "1e999}", 1).encode())
    assert found.open(Ordered) == Ordered(order_id="7")


def test_an_event_of_a_newer_major_version_is_told_apart_from_one_that_is_wrong() -> None:
    with pytest.raises(UnsupportedVersion):
        read(envelope(metadata=metadata(version="2.0"))).open(Ordered)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_undecodable(raw: bytes) -> None:
    opens_or_refuses(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
MEMBER = JSON | st.just("sample.ordered")
DATA = JSON | st.fixed_dictionaries({}, optional={"orderId": JSON, "customer": JSON})
METADATA = JSON | st.fixed_dictionaries(
    {},
    optional={
        "eventId": JSON | st.just("e-1"),
        "timestamp": JSON | st.just("2026-11-23T10:00:00Z"),
        "version": JSON | st.sampled_from(["1.0", "1.1", "2.0", "0.1"]),
        "traceparent": JSON,
        "correlationId": JSON,
    },
)


@given(st.fixed_dictionaries({}, optional={"type": MEMBER, "data": DATA, "metadata": METADATA}))
def test_any_json_is_read_or_undecodable(content: dict[str, Any]) -> None:
    opens_or_refuses(json.dumps(content).encode())


def opens_or_refuses(raw: bytes) -> None:
    with suppress(Undecodable, UnsupportedVersion):
        found = decode({b"event": raw})
        Origin.caused_by(found.metadata, "test")
        found.open(Ordered).lane_key()


def test_ids_are_unique_and_sorted_by_time() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", each) for each in ids
    )
    made = [each[:13] for each in ids]
    assert made == sorted(made)


def test_a_timestamp_is_utc_with_milliseconds() -> None:
    at = datetime(2026, 11, 23, 12, 0, 0, 999_999, timezone(timedelta(hours=2)))
    assert timestamp(at) == "2026-11-23T10:00:00.999Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
