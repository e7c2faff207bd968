"""What must be true when a replay is over; each check says what it found, and names every order or product amiss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .evidence import Evidence
from .orders import Item, wanted
from .serial import Outcome, Shortage, serve
from .streams import INVENTORY_STREAM, ORDERS_STREAM, Recorded

_TYPE_OF = {"confirmed": "inventory.reserved", "rejected": "inventory.rejected"}
_KIND_OF = {"confirmed": "order_confirmed", "rejected": "order_rejected"}


class Check(NamedTuple):
    """One thing that must be true: `found` in a few words, `problems` empty if it is."""

    claim: str
    found: str
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return not self.problems


def check_all(evidence: Evidence) -> list[Check]:
    """All checks, in the order of an order's life."""
    return [check(evidence) for check in _CHECKS]


def accepted(evidence: Evidence) -> Check:
    """Every order was answered 202, under an id of its own."""
    ids = Counter(each.order_id for each in evidence.posted)
    problems = [f"order {each.order.name} was refused: {each.why}" for each in evidence.refused]
    problems += [f"{count} orders were given the id {order_id}" for order_id, count in ids.items() if count > 1]
    return Check(
        "every order was accepted",
        f"{len(evidence.posted):,} of {len(evidence.workload.orders):,} answered 202",
        tuple(problems),
    )


def published(evidence: Evidence) -> Check:
    """Every accepted order is on the stream once, as it was posted; in file order if it was posted so."""
    return Check(
        "each is on the stream once, as posted",
        f"{len(evidence.events[ORDERS_STREAM]):,} events"
        + (", in file order" if evidence.workload.connections == 1 else ""),
        tuple(_published(evidence)),
    )


def _published(evidence: Evidence) -> Iterator[str]:
    for each in evidence.posted:
        events = evidence.created.get(each.order_id, [])
        if [event.type for event in events] != ["order.created"]:
            yield f"{evidence.name(each.order_id)} is on the stream as {_listed(event.type for event in events)}"
        elif _items(events[0].data) != each.order.items:
            yield f"{evidence.name(each.order_id)} has other items on the stream: {events[0].data['items']}"
    yield from _strangers(evidence, evidence.created, ORDERS_STREAM)
    if evidence.workload.connections == 1:
        order = [event.order_id for event in evidence.events[ORDERS_STREAM]]
        if order != [each.order_id for each in evidence.posted]:
            yield "the stream does not have the order of the file, though one was posted after another"


def final_states(evidence: Evidence) -> Check:
    """Every accepted order is confirmed or rejected, as the one event about it says; there are no others."""
    counts = Counter(state.status for state in evidence.states)
    found = f"{counts['confirmed']:,} confirmed + {counts['rejected']:,} rejected, {counts['processing']:,} processing"
    return Check("one final state each, as its event says", found, tuple(_final_states(evidence)))


def _final_states(evidence: Evidence) -> Iterator[str]:
    listed = Counter(state.order_id for state in evidence.states)
    for each in evidence.posted:
        name = evidence.name(each.order_id)
        if listed[each.order_id] != 1:
            yield f"{name} is listed {listed[each.order_id]} times by the order service"
            continue
        state = evidence.state_of[each.order_id]
        events = evidence.outcomes.get(each.order_id, [])
        if state.status not in _TYPE_OF:
            yield f"{name} is {state.status}"
        elif [event.type for event in events] != [_TYPE_OF[state.status]]:
            yield f"{name} is {state.status}, and the stream says {_listed(event.type for event in events)}"
        elif state.reason != events[0].data.get("reason"):
            yield f"{name} has the reason {state.reason}, and the stream says {events[0].data.get('reason')}"
    yield from _strangers(evidence, {state.order_id: None for state in evidence.states}, "the order service's list")
    yield from _strangers(evidence, evidence.outcomes, INVENTORY_STREAM)


def stock_conserved(evidence: Evidence) -> Check:
    """Of every product: what there was is what is available plus what is reserved, and nothing is negative."""
    before, after = evidence.workload.stock, evidence.stock
    problems = [f"product {name} is not in stock any more" for name in before.keys() - after.keys()]
    problems += [f"product {name} has appeared from nowhere" for name in after.keys() - before.keys()]
    for name, level in after.items():
        if min(level) < 0:
            problems.append(f"product {name} is negative: {level.available} available, {level.reserved} reserved")
        if name in before and before[name] != sum(level):
            problems.append(f"product {name}: {before[name]} before, {level.available} + {level.reserved} after")
    available, reserved = (sum(numbers) for numbers in zip(*after.values(), strict=True)) if after else (0, 0)
    return Check(
        "every product's stock is conserved",
        f"{sum(before.values()):,} before = {available:,} available + {reserved:,} reserved",
        tuple(problems),
    )


def reserved(evidence: Evidence) -> Check:
    """Of every product, as much is reserved as the confirmed orders hold."""
    confirmed = [each for each in evidence.posted if _status(evidence, each.order_id) == "confirmed"]
    held = wanted(each.order for each in confirmed)
    problems = [
        f"product {name}: {level.reserved} reserved, {held[name]} in confirmed orders"
        for name, level in evidence.stock.items()
        if level.reserved != held[name]
    ]
    found = f"{sum(held.values()):,} units in {len(confirmed):,} orders"
    return Check("reserved is what confirmed orders hold", found, tuple(problems))


def as_served_serially(evidence: Evidence) -> Check:
    """Every outcome is that of a shop that serves the orders one after another.

    With one inventory process the order is that of `orders_stream`, and reasons and shortages are the same as well.
    Several processes take the stream's orders side by side: they must agree with the order in which they committed.
    """
    several = evidence.replicas > 1
    stream = INVENTORY_STREAM if several else ORDERS_STREAM
    order = [event.order_id for event in evidence.events[stream]]
    line = [(order_id, evidence.by_id[order_id].order.items) for order_id in order if order_id in evidence.by_id]
    expected = serve(evidence.workload.stock, line)
    problems = []
    for order_id, outcome in expected.items():
        events = evidence.outcomes.get(order_id, [])
        actual = _outcome(events[0]) if events else None
        if actual is None or actual.status != outcome.status or (not several and not _same(actual, outcome)):
            problems.append(f"{evidence.name(order_id)}: {_said(actual)}; serially it is {_said(outcome)}")
    return Check(
        "outcomes as served one after another",
        f"{len(expected) - len(problems):,} of {len(expected):,}, in the order of {stream}",
        tuple(problems),
    )


def one_notification(evidence: Evidence) -> Check:
    """Exactly one notification an order, sent, about its outcome."""
    problems = []
    for each in evidence.posted:
        about = evidence.notifications.get(each.order_id, [])
        outcome = [event.metadata["eventId"] for event in evidence.outcomes.get(each.order_id, [])]
        kind = _KIND_OF.get(_status(evidence, each.order_id))
        if [(one.kind, one.status, one.event_id) for one in about] != [(kind, "sent", id) for id in outcome]:
            told = _listed(f"{one.kind} ({one.status}, event {one.event_id})" for one in about)
            problems.append(f"{evidence.name(each.order_id)} has {len(about)} notifications: {told}")
    total = sum(map(len, evidence.notifications.values()))
    return Check("exactly one notification an order", f"{total:,} sent", tuple(problems))


def one_trace(evidence: Evidence) -> Check:
    """The POST's answer, both events and the order carry one trace id; the first event is the cause of the second."""
    problems = []
    for each in evidence.posted:
        events = evidence.created.get(each.order_id, [])[:1] + evidence.outcomes.get(each.order_id, [])[:1]
        traces = {each.trace_id, *(event.metadata.get("correlationId") for event in events)}
        if state := evidence.state_of.get(each.order_id):
            traces.add(state.trace_id)
        if len(traces) != 1:
            problems.append(f"{evidence.name(each.order_id)} has {len(traces)} trace ids: {_listed(map(str, traces))}")
        elif len(events) == 2 and events[1].metadata.get("causationId") != events[0].metadata["eventId"]:
            problems.append(
                f"{evidence.name(each.order_id)}: {events[1].type} does not name order.created as its cause"
            )
    distinct = len({each.trace_id for each in evidence.posted})
    return Check("one order is one trace", f"{distinct:,} trace ids", tuple(problems))


def nothing_left(evidence: Evidence) -> Check:
    """No group has lag or pending entries, and nothing was given up."""
    letters = [letter for each in evidence.dead_letters.values() for letter in each]
    problems = [*([evidence.snapshot.busy] if not evidence.snapshot.idle else []), *letters]
    lag = sum(group.lag or 0 for group in evidence.snapshot.groups)
    pending = sum(group.pending for group in evidence.snapshot.groups)
    return Check("nothing is left over", f"lag {lag}, pending {pending}, dead letters {len(letters)}", tuple(problems))


_CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    accepted,
    published,
    final_states,
    stock_conserved,
    reserved,
    as_served_serially,
    one_notification,
    one_trace,
    nothing_left,
)


def _strangers(evidence: Evidence, ids: dict[str, Any], where: str) -> Iterator[str]:
    return (
        f"{where} holds order {order_id}, which nobody posted" for order_id in ids if order_id not in evidence.by_id
    )


def _status(evidence: Evidence, order_id: str) -> str:
    state = evidence.state_of.get(order_id)
    return state.status if state else ""


def _items(data: Any) -> tuple[Item, ...]:
    return tuple(Item(item["productId"], item["quantity"]) for item in data["items"])


def _outcome(event: Recorded) -> Outcome | None:
    if event.type == _TYPE_OF["confirmed"]:
        return Outcome("confirmed")
    if event.type != _TYPE_OF["rejected"]:
        return None
    shortages = (Shortage(each["productId"], each["requested"], each["available"]) for each in event.data["shortages"])
    return Outcome("rejected", event.data["reason"], tuple(shortages))


def _same(actual: Outcome, expected: Outcome) -> bool:
    return actual[:2] == expected[:2] and sorted(actual.shortages) == sorted(expected.shortages)


def _said(outcome: Outcome | None) -> str:
    if outcome is None:
        return "without outcome"
    short = ", ".join(
        f"{each.product_id}: {each.requested} asked, {each.available} there" for each in outcome.shortages
    )
    return f"{outcome.status} ({outcome.reason}; {short})" if short else outcome.status


def _listed(words: Iterator[str] | Sequence[str]) -> str:
    return ", ".join(words) or "nothing"
