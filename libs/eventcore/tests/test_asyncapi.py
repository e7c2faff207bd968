"""AsyncAPI documents: whatever events and readers are called, each has a place of its own."""

from __future__ import annotations

import re
from typing import Any

from eventcore import Event, Router
from eventcore.schemas.asyncapi import Participant, asyncapi_document

from .samples import acknowledge


class Metadata(Event, type="trip.metadata", stream="trips_stream"):
    """Called like what every event has."""

    length: int


class Booked(Event, type="trip.booked", stream="trips_stream"):
    """One of two of a name."""

    trip: str


class Hotel:
    """Stands for another module."""

    class Booked(Event, type="hotel.booked", stream="trips_stream"):
        """The other one."""

        room: int


def readers(*groups: str) -> list[Router]:
    routers = [Router(group=group) for group in groups]
    for router in routers:
        for event in (Metadata, Booked, Hotel.Booked):
            router.on(event)(acknowledge)
    return routers


def test_events_of_one_name_are_two_and_all_references_lead_to_one() -> None:
    written = asyncapi_document("trips", [Participant("trips", "", readers("g"), [])], description="")
    schemas = written["components"]["schemas"]
    assert set(schemas) == {"Metadata", "Metadata2", "Booked", "Booked2"}
    assert set(re.findall(r"#/components/schemas/(\w+)", str(written))) == set(schemas)
    fields = [data_of(written, name)["properties"].keys() for name in ("trip.booked", "hotel.booked", "trip.metadata")]
    assert fields == [{"trip"}, {"room"}, {"length"}]


def data_of(written: dict[str, Any], type: str) -> Any:
    """What a message's data refer to."""
    reference = written["components"]["messages"][type]["payload"]["properties"]["data"]["$ref"]
    return written["components"]["schemas"][reference.rpartition("/")[2]]


def test_each_group_that_reads_a_stream_has_an_operation() -> None:
    written = asyncapi_document("trips", [Participant("trips", "", readers("one", "two"), [])], description="")
    assert {operation["x-consumer-group"] for operation in written["operations"].values()} == {"one", "two"}
