"""One order's whole story: everything that happened to it, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .evidence import Evidence
from .replay import Posted
from .streams import Recorded


class Step(NamedTuple):
    """Something that happened `after` so many milliseconds from just before the POST was sent; `details` beneath it."""

    after: float
    what: str
    where: str
    details: str = ""


def choose(evidence: Evidence) -> Posted | None:
    """An order worth telling: confirmed, of several lines, neither fast nor slow."""

    def is_worth_it(order: Posted) -> bool:
        state = evidence.state_of.get(order.order_id)
        complete = order.order_id in evidence.outcomes and bool(evidence.notifications.get(order.order_id))
        return state is not None and state.status == "confirmed" and complete

    worthy = [order for order in evidence.posted if is_worth_it(order)]
    several = [order for order in worthy if 2 <= len(order.order.items) <= 4] or worthy
    several.sort(key=lambda order: evidence.state_of[order.order_id].updated_at - order.sent_at)
    return several[len(several) // 2] if several else None


def tell(evidence: Evidence, order: Posted, reservation: str) -> list[Step]:
    """Its steps; `reservation` is the reservation's status, as the inventory service has it."""
    # Clocks that tell whole milliseconds can't order what happens within one; the sort is stable and keeps our order.
    return sorted(_steps(evidence, order, reservation), key=lambda step: int(step.after))


def _steps(evidence: Evidence, order: Posted, reservation: str) -> Iterator[Step]:
    yield Step(0, "POST /orders", "client")
    for event in evidence.created.get(order.order_id, []):
        yield _event(order, event, f"event {event.metadata['eventId']}")
    yield Step(_after(order, order.answered_at), "202 Accepted", "client")
    for event in evidence.outcomes.get(order.order_id, []):
        yield _event(order, event, f"caused by {event.metadata.get('causationId')}")
    yield Step(
        _after(order, evidence.outcomes[order.order_id][0].at), f"reservation {reservation}", "in the same commit"
    )
    state = evidence.state_of[order.order_id]
    yield Step(_after(order, state.updated_at), f"order {state.status}", "order service")
    for note in evidence.notifications.get(order.order_id, []):
        to = f", to {note.recipient}" if note.recipient not in (None, note.channel) else ""
        where = f"notification, channel {note.channel}{to}"
        yield Step(_after(order, note.sent_at), f"{note.kind} {note.status}", where)


def _event(order: Posted, event: Recorded, details: str) -> Step:
    return Step(_after(order, event.at), event.type, f"{event.stream} {event.entry_id}", details)


def _after(order: Posted, at: float) -> float:
    return max(0.0, (at - order.sent_at) * 1000)
