"""Origins: an event continues the story of what caused it, and every attempt tells the same story."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from eventcore import Metadata, Origin

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def caused_by(**known: Any) -> Origin:
    return Origin.caused_by(Metadata(event_id="e-1", timestamp=datetime.now(UTC), **known), "warehouse")


def test_a_new_story_has_a_trace_id_of_its_own_and_is_not_sampled() -> None:
    origin = Origin.new("shop")
    assert re.fullmatch(rf"00-{origin.correlation_id}-[0-9a-f]{{16}}-00", origin.traceparent)
    assert re.fullmatch(r"[0-9a-f]{32}", origin.correlation_id)
    assert origin.correlation_id != Origin.new("shop").correlation_id
    assert (origin.source, origin.causation_id, origin.tracestate) == ("shop", None, None)


def test_a_new_story_can_be_given_its_trace_id() -> None:
    origin = Origin.new("shop", TRACE)
    assert origin.correlation_id == TRACE
    assert origin.traceparent.startswith(f"00-{TRACE}-")


def test_an_effect_continues_the_trace_of_its_cause() -> None:
    origin = caused_by(traceparent=PARENT, tracestate="vendor=1", correlation_id=TRACE, baggage="tier=gold")
    assert origin == Origin("warehouse", TRACE, PARENT, "vendor=1", "e-1", "tier=gold")


def test_a_trace_without_correlation_id_gives_the_correlation_id() -> None:
    assert caused_by(traceparent=PARENT).correlation_id == TRACE


def test_a_correlation_id_that_is_a_trace_id_becomes_the_trace() -> None:
    origin = caused_by(correlation_id=TRACE)
    assert origin.traceparent.startswith(f"00-{TRACE}-")
    assert origin.correlation_id == TRACE


def test_a_correlation_id_of_another_shape_is_kept_beside_a_trace_made_from_the_event_id() -> None:
    origin = caused_by(correlation_id="ticket 5")
    assert origin.correlation_id == "ticket 5"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", origin.traceparent)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        PARENT.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"{PARENT}\n",
        f"{PARENT}-more",
    ],
)
def test_a_traceparent_that_is_none_is_replaced_and_its_tracestate_dropped(traceparent: str) -> None:
    origin = caused_by(traceparent=traceparent, tracestate="vendor=1")
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00", origin.traceparent)
    assert origin.tracestate is None


def test_every_attempt_at_an_event_without_a_trace_tells_the_same_story() -> None:
    assert caused_by() == caused_by()
