"""How long the flow of orders took to be whole again after a disturbance: computed from when each came and was done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# So long without anybody late means that the disturbance is over, and lateness afterwards is not its doing.
CALM = 1.5


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
    """Something that was done to the system: recovery counts from `at`, and may take so many seconds.

    It may have `begun` earlier to do harm, and be over only then.
    """

    what: str
    at: float
    begun: float | None = None
    within: float | None = None

    @property
    def first_felt(self) -> float:
        """From when on lateness may be its doing."""
        return self.at if self.begun is None else self.begun


class Recovery(NamedTuple):
    """How long it took after something, and how long it may take; `overlapped` tells of several things at once."""

    what: str
    seconds: float
    within: float | None = None
    overlapped: bool = False


def recoveries(moments: Sequence[Moment], flows: Sequence[Flow], *, late_after: float) -> list[Recovery]:
    """One for each moment that came when the flow was whole; those that came before it was are taken together.

    Whose doing is it then that somebody is late? All that can be said is how long it took after the last of them,
    and that the longest of their limits must do.
    """
    found: list[Recovery] = []
    together: list[Moment] = []
    for moment, following in itertools.pairwise([*sorted(moments, key=lambda each: each.at), None]):
        assert moment is not None
        ends = float("inf") if following is None else following.first_felt
        theirs = [flow for flow in flows if flow.sent_at + late_after < ends]
        seconds = recovery(moment, theirs, late_after=late_after)
        together.append(moment)
        if moment.at + seconds <= ends:
            limits = [each.within for each in together if each.within is not None]
            what = " + ".join(each.what for each in together)
            found.append(Recovery(what, seconds, max(limits, default=None), len(together) > 1))
            together = []
    return found


def slowest_by_limit(found: Sequence[Recovery]) -> list[str]:
    """How close many recoveries came to each limit, in words."""
    lines = []
    for limit in sorted({each.within for each in found if each.within is not None}):
        for overlapped, how in ((False, "alone"), (True, "overlapping")):
            those = [each for each in found if (each.within, each.overlapped) == (limit, overlapped)]
            if those:
                what, seconds, *_ = max(those, key=lambda each: each.seconds)
                lines.append(f"within {limit:g} s, {how}: {len(those)}, the slowest {seconds:.1f} s ({what})")
    return lines


def recovery(moment: Moment, flows: Iterable[Flow], *, late_after: float) -> float:
    """Seconds from the moment until nobody was late any more.

    An order is late from `late_after` seconds after it was sent until it is done. The flow is whole again where a
    stretch of `calm` seconds begins in which no order is late. 0 means that nobody noticed.
    """
    late = sorted((flow.sent_at + late_after, flow.done_at) for flow in flows if flow.took > late_after)
    whole_at = moment.at
    for began, ended in late:
        # Who was on the way at the moment is late only `late_after` seconds later.
        expected = whole_at + CALM + (late_after if whole_at == moment.at else 0)
        if ended > whole_at and began <= expected:
            whole_at = ended
    return whole_at - moment.at


def slowest(flows: Iterable[Flow]) -> float:
    """The longest time that any order took, in seconds."""
    return max((flow.took for flow in flows), default=0.0)
