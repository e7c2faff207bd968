"""The ledger's demands: what was accepted is there once, whole and in one piece; every order amiss is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .evidence import Evidence, Life

_OUTCOME_OF = {"confirmed": "inventory.reserved", "rejected": "inventory.rejected"}
_KIND_OF = {"confirmed": "order_confirmed", "rejected": "order_rejected"}
_RESERVATION_OF = {"confirmed": "reserved", "rejected": "rejected"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run comes to. `lost` and `doubled` count orders; `problems` says in words all that is not as demanded."""

    accepted: int
    final: int
    lost: int
    doubled: int
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every demand is met."""
        return not self.problems


def judge(evidence: Evidence) -> Verdict:
    """Hold the evidence against the demands."""
    lost = {name(life): why for life in evidence.lives if (why := list(_lost(life)))}
    doubled = {name(life): why for life in evidence.lives if (why := list(_doubled(life)))}
    stranger_ids = {event.order_id for event in evidence.strangers}
    problems = [f"lost: {order}: {'; '.join(why)}" for order, why in lost.items()]
    problems += [f"doubled: {order}: {'; '.join(why)}" for order, why in doubled.items()]
    problems += [f"doubled: order {order_id} is in the streams, and nobody was told of it" for order_id in stranger_ids]
    for life in evidence.lives:
        problems += [f"{name(life)}: {why}" for why in _inconsistent(life)]
    problems += [f"order {placed.number} was not accepted: {placed.refused}" for placed in evidence.refused]
    problems += [*_stock(evidence), *_leftovers(evidence), *_dead_letters(evidence), *_webhooks(evidence)]
    return Verdict(
        accepted=len(evidence.lives),
        final=sum(life.state is not None and life.state.status in _OUTCOME_OF for life in evidence.lives),
        lost=len(lost),
        doubled=len(doubled) + len(stranger_ids),
        problems=tuple(problems),
    )


def name(life: Life) -> str:
    """An order for people."""
    return f"order {life.placed.number} ({life.placed.order_id})"


def _lost(life: Life) -> Iterator[str]:
    if life.state is None:
        yield "the order service does not know it"
    elif life.state.status not in _OUTCOME_OF:
        yield f"it is {life.state.status}"
    if not life.created:
        yield "it is not on orders_stream"
    if not life.outcomes:
        yield "nothing about it is on inventory_stream"
    if life.reservation is None:
        yield "the inventory does not know it"
    if not life.notifications:
        yield "the customer was not told"


def _doubled(life: Life) -> Iterator[str]:
    if len(life.placed.order_ids) > 1:
        yield f"one key was answered with several orders: {', '.join(sorted(life.placed.order_ids))}"
    if len(life.created) > 1:
        yield f"it is on orders_stream {len(life.created)} times"
    if len(life.outcomes) > 1:
        yield f"it is on inventory_stream as {', '.join(str(event.type) for event in life.outcomes)}"
    if len(life.notifications) > 1:
        yield f"the customer was told {len(life.notifications)} times"


def _inconsistent(life: Life) -> Iterator[str]:
    """Where parts of one order contradict each other."""
    status = life.state.status if life.state else "unknown"
    if life.state is None or status not in _OUTCOME_OF:
        return
    for event in life.outcomes:
        if event.type != _OUTCOME_OF[status]:
            yield f"it is {status}, and inventory_stream says {event.type}"
    if life.reservation not in (None, _RESERVATION_OF[status]):
        yield f"it is {status}, and its reservation is {life.reservation}"
    for each in life.notifications:
        if (each.kind, each.status) != (_KIND_OF[status], "sent"):
            yield f"it is {status}, and the customer's notification is {each.kind}, {each.status}"
        if each.event_id not in [event.metadata.get("eventId") for event in life.outcomes]:
            yield f"the notification is about event {each.event_id}, which is not there"
    yield from _several_traces(life)
    causes = {event.metadata.get("causationId") for event in life.outcomes}
    if life.created and not causes <= {event.metadata.get("eventId") for event in life.created}:
        yield "its outcome does not name its order.created as the cause"


def _several_traces(life: Life) -> Iterator[str]:
    """The trace of the first POST is that of all that follows from it."""
    traces = {life.placed.trace_id, *([life.state.trace_id] if life.state else [])}
    for event in (*life.created, *life.outcomes):
        traces |= event.trace_ids
    if len(traces) > 1:
        yield f"it has {len(traces)} trace ids: {', '.join(sorted(traces))}"


def _stock(evidence: Evidence) -> Iterator[str]:
    """Of every product: what there was is available or reserved, and reserved is what confirmed orders hold."""
    held: Counter[str] = Counter()
    for life in evidence.lives:
        if life.state is not None and life.state.status == "confirmed":
            for product, quantity in life.placed.items:
                held[product] += quantity
    for product, before in evidence.stock.items():
        level = evidence.levels[product]
        if level.available + level.reserved != before or min(level) < 0:
            yield f"stock of {product}: {before} before, {level.available} available + {level.reserved} reserved after"
        if level.reserved != held[product]:
            yield f"stock of {product}: {level.reserved} reserved, {held[product]} in confirmed orders"


def _leftovers(evidence: Evidence) -> Iterator[str]:
    for group in evidence.groups:
        if not group.idle:
            left = f"lag {group.lag}, {group.pending} pending and {group.aside} put aside"
            yield f"{group.name} has {left} on {group.stream}"


def _dead_letters(evidence: Evidence) -> Iterator[str]:
    """Exactly the poisoned entries are there, each once."""
    expected = Counter(evidence.poisoned)
    found = Counter(letter.get("entryId", "?") for letter in evidence.dead_letters)
    for letter in evidence.dead_letters:
        if letter.get("entryId", "?") not in expected:
            yield (
                f"dead letter of {letter.get('group')} for {letter.get('entryId')} ({letter.get('type')}): "
                f"{letter.get('reason')}: {letter.get('error')}"
            )
    for entry_id in expected:
        if found[entry_id] != 1:
            yield f"the poisoned entry {entry_id} has {found[entry_id]} dead letters"
    for event in evidence.unreadable:
        if event.entry_id not in expected:
            yield f"entry {event.entry_id} of {event.stream} can't be read"


def _webhooks(evidence: Evidence) -> Iterator[str]:
    """A customer may be told more than once by the outside's count, but always under the event's id."""
    if not evidence.webhooks:
        return
    for life in evidence.lives:
        ids = set(evidence.webhooks.get(life.placed.order_id, ()))
        if life.notifications and ids != {each.event_id for each in life.notifications}:
            yield f"{name(life)}: its webhooks carry the ids {sorted(ids)}"
