"""How long the flow of orders took to be whole again after a disturbance: computed from when each came and was done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

# So long without anybody late means that the disturbance is over, and lateness afterwards is not its doing.
calm = 1.5


class Flow(NamedTuple):
    """An order: when its POST was first sent, and when it was decided and its customer told (seconds since 1970)."""

    sent_at: float
    done_at: float

    @property
    def took(self) -> float:
        """Seconds in between."""
        return self.done_at - self.sent_at


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was done to the system: recovery counts from here."""

    what: str
    at: float


def recovery(moment: Moment, flows: Iterable[Flow], *, late_after: float) -> float:
    """Seconds from the moment until nobody was late any more.

    An order is late from `late_after` seconds after it was sent until it is done. The flow is whole again where a
    stretch of `calm` seconds begins in which no order is late. 0 means that nobody noticed.
    """
    late = sorted((flow.sent_at + late_after, flow.done_at) for flow in flows if flow.took > late_after)
    whole_at = moment.at
    for began, ended in late:
        # Who was on the way at the moment is late only `late_after` seconds later.
        expected = whole_at + calm + (late_after if whole_at == moment.at else 0)
        if ended > whole_at and began <= expected:
            whole_at = ended
    return whole_at - moment.at


def slowest(flows: Iterable[Flow]) -> float:
    """The longest time that any order took, in seconds."""
    return max((flow.took for flow in flows), default=0.0)
