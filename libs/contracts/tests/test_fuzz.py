"""Anything in an entry is an event of the contract, or is refused with a reason that names the field."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

import contracts
from eventcore import Event, Undecodable, UnsupportedVersion, decode

from .hostile import examples
from .json_values import bodies

EVENTS = {
    event.type: event for event in vars(contracts).values() if isinstance(event, type) and issubclass(event, Event)
}


@given(st.sampled_from(examples()).flatmap(bodies))
def test_any_entry_is_an_event_or_refused_by_name(raw: bytes) -> None:
    refused = refusal(raw)
    assert refused is None or re.match(r"(event|type|data|metadata)(\.[^:]*)?: .|[^:]*: stands twice", refused)


def refusal(raw: bytes) -> str | None:
    """Why this can't be read, as the event that it says it is; `None` if it can."""
    try:
        envelope = decode({b"event": raw})
        envelope.open(EVENTS.get(envelope.type, contracts.OrderCancelled)).lane_key()
    except UnsupportedVersion:
        return None  # waits for a newer program
    except Undecodable as error:
        return str(error)
    return None
