"""Detours: lanes with deliveries put aside, whose later deliveries go aside behind them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from .delivery import Delivery

# What was put aside is expected back so long after its time at the latest. Then a peer has it, and the lane is free:
# across replicas there is no order.
EXPECTED_BACK_WITHIN = 60.0

Rank = tuple[int, int]


class Away:
    """What is aside of one lane, in stream order: what each is called, and until when it is expected back."""

    def __init__(self) -> None:
        self.ranks: list[Rank] = []
        self.names: dict[Rank, str] = {}
        self.until: dict[Rank, float] = {}

    def add(self, mine: Rank, name: str, until: float) -> None:
        """It went aside, perhaps once more."""
        place = bisect_left(self.ranks, mine)
        if mine not in self.names:
            self.ranks.insert(place, mine)
        # Only by its own departures does it stay expected: else those that pass by on its account would keep it so.
        ahead = self.until[self.ranks[place - 1]] if place else 0.0
        self.names[mine], self.until[mine] = name, max(until, ahead)

    def remove(self, mine: Rank) -> None:
        """It is here again, or with a peer."""
        if self.names.pop(mine, None) is not None:
            del self.ranks[bisect_left(self.ranks, mine)], self.until[mine]


class Detours:
    """The lanes that have something aside. `outgoing` holds, by lane in stream order, what has yet to be put aside."""

    def __init__(self) -> None:
        self.outgoing: dict[str, list[Delivery]] = {}
        self._away: dict[str, Away] = {}

    def __bool__(self) -> bool:
        return bool(self.outgoing or self._away)

    @property
    def waiting(self) -> int:
        """How many are still to be put aside."""
        return sum(map(len, self.outgoing.values()))

    def takes(self, lane: str, delivery: Delivery, now: float) -> bool:
        """Whether a delivery that comes to its lane has to go aside first, behind others that stood before it."""
        mine = rank(delivery)
        if delivery.past is not None:
            self._returned(lane, mine)
        ahead = self.outgoing.get(lane)
        if not (ahead and rank(ahead[0]) < mine) and not (self.is_away(lane, now) and self._away[lane].ranks[0] < mine):
            return False
        self.close(lane, [delivery])
        return True

    def is_away(self, lane: str, now: float) -> bool:
        """Whether something of the lane is aside, and expected back."""
        away = self._away.get(lane)
        while away and away.ranks and away.until[away.ranks[0]] < now:
            away.remove(away.ranks[0])
        if away and not away.ranks:
            del self._away[lane]
        return lane in self._away

    def close(self, lane: str, deliveries: Iterable[Delivery]) -> None:
        """Put these deliveries on the way aside, in their lane's order."""
        for delivery in deliveries:
            insort(self.outgoing.setdefault(lane, []), delivery, key=rank)

    def before(self, lane: str, delivery: Delivery) -> str:
        """The name of what is aside and must come back right before this one of its lane; '' if there is nothing."""
        away = self._away.get(lane)
        place = bisect_left(away.ranks, rank(delivery)) if away else 0
        return away.names[away.ranks[place - 1]] if away and place else ""

    def departed(self, lane: str, delivery: Delivery, name: str, due: float) -> None:
        """A delivery of this lane is aside, under this name, until then or until those before it are back."""
        self._away.setdefault(lane, Away()).add(rank(delivery), name, due + EXPECTED_BACK_WITHIN)
        if delivery in (queue := self.outgoing.get(lane, [])):
            queue.remove(delivery)
        if not queue:
            self.outgoing.pop(lane, None)

    def prune(self, now: float) -> None:
        """Forget what will not come back here any more."""
        for lane in list(self._away):
            self.is_away(lane, now)

    def _returned(self, lane: str, mine: Rank) -> None:
        away = self._away.get(lane)
        if away is not None:
            away.remove(mine)
            if not away.ranks:
                del self._away[lane]


def rank(delivery: Delivery) -> Rank:
    """Where it first stood, to compare: what stands first in a stream goes first in its lane."""
    milliseconds, _, number = delivery.origin_id.partition("-")
    return _whole(milliseconds), _whole(number)


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= 20 else 0
