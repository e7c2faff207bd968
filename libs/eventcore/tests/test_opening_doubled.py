"""Opening entries in one pass: what it opens it has seen whole; all that is doubled is left to a closer look."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import Field

from eventcore import Event, Origin, Value, encode
from eventcore.events.canonical import Opener


class Item(Value):
    product_id: str
    quantity: int
    notes: dict[str, str] = Field(default_factory=dict)


class Bought(Event, type="sample.bought", version="1.0", stream="s"):
    order_id: str
    items: tuple[Item, ...]
    gift: Item | None = None
    who: str | None = None


class Paid(Event, type="sample.paid", version="1.0", stream="s"):
    order_id: str


OPENER = Opener([Bought, Paid])
ITEM = Item(product_id="11", quantity=2, notes={"a": "b", "c": "d"})
EVENTS: list[Event] = [
    Paid(order_id="1"),
    Bought(order_id="1", items=(ITEM, ITEM), gift=ITEM, who='a "quoted": name'),
    Bought(order_id="1", items=(), who=None),
]
TRACED = Origin("shop", "4bf9", "00-4bf9", "vendor=1", "cause-1")


@pytest.mark.parametrize("origin", [Origin.new("shop"), TRACED])
def test_what_we_write_is_opened_at_once(origin: Origin) -> None:
    for event in (EVENTS[0], EVENTS[2], Bought(order_id="1", items=(ITEM, ITEM), gift=ITEM, who="me")):
        opened = OPENER.open({b"event": encode(event, origin)})
        assert opened is not None
        assert (opened.type, opened.event) == (event.type, event)
        assert opened.metadata.tracestate == origin.tracestate


def doubled(raw: str) -> list[str]:
    """The text with one member doubled, for every member, and in several ways of writing it."""
    return [
        f"{raw[: member.start()]}{again}0,{raw[member.start() :]}"
        for member in re.finditer(r'("\w+"):', raw)
        for again in (
            *(f"{member[1]}{colon}" for colon in (":", " :", "\t:", "\n:", "\r:")),
            f'"\\u{ord(member[1][1]):04x}{member[1][2:]}:',
        )
    ]


@pytest.mark.parametrize("event", EVENTS, ids=repr)
@pytest.mark.parametrize("left_out", [(), ("causationId",), ("version", "source")])
def test_a_doubled_member_is_left_to_a_closer_look(event: Event, left_out: tuple[str, ...]) -> None:
    content: dict[str, Any] = json.loads(encode(event, TRACED))
    for name in left_out:
        del content["metadata"][name]
    for raw in doubled(json.dumps(content, separators=(",", ":"))):
        json.loads(raw)
        assert OPENER.open({b"event": raw.encode()}) is None, raw
