"""What a consumer holds: the deliveries it was given and has not finished."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from .delivery import Delivery, DeliveryKey, Past, TryAgain
from .detours import Detours
from .group_member import Entry
from .lanes import Lanes
from .losses import note_loss
from .portions import HAND_BYTES, WAITING_BYTES, Portions

# Seconds after which a lane that keeps a consumer from reading on is named.
STANDING_AFTER = 10.0


class Waiting(Struct, eq=False):
    """A delivery that waits for another attempt until `due`, by the monotonic clock.

    `counts`: the attempt that failed was spent. `others_pass`: others had succeeded while it failed. It goes aside
    until `away_until`; 0: it may wait here, `None`: nobody has looked yet.
    """

    delivery: Delivery
    due: float
    counts: bool
    others_pass: bool
    away_until: float | None = None


class Holding:
    """Deliveries by entry, and how much room is left for more.

    Only those in hand take up room: not those that wait for another attempt, nor those that wait behind others of their
    lanes. Of each of these kinds there are not too many either.
    """

    def __init__(self, group: str, *, limit: int, waiting_limit: int) -> None:
        self.group, self._limit, self._waiting_limit = group, limit, waiting_limit
        self.portions = Portions()
        self._held: dict[DeliveryKey, Delivery] = {}
        self._waiting: dict[DeliveryKey, Waiting] = {}
        self.lanes: Lanes[Delivery] = Lanes()
        self.detours = Detours()
        self._most_behind = max(limit, waiting_limit)
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[DeliveryKey]:
        return iter(self._held)

    def __contains__(self, key: DeliveryKey) -> bool:
        return key in self._held

    @property
    def by_stream(self) -> Mapping[str, int]:
        """How many it has of each stream."""
        return Counter(stream for stream, _ in self._held)

    @property
    def waiting(self) -> int:
        """How many wait for another attempt."""
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """How many may be in hand: fewer of large ones."""
        return self.portions.within(HAND_BYTES, self._limit)

    @property
    def waiting_limit(self) -> int:
        """How many may wait for another attempt before reading pauses: fewer of large ones."""
        return self.portions.within(WAITING_BYTES, self._waiting_limit)

    @property
    def room(self) -> int:
        """How many more may be taken in hand now."""
        if self.crowded:
            return 0
        return max(0, self.limit - (len(self._held) - len(self._waiting) - self.behind))

    @property
    def behind(self) -> int:
        """How many wait behind others of their lane."""
        return self.lanes.waiting + self.detours.waiting

    @property
    def crowded(self) -> bool:
        """Whether as many wait behind others as may be held."""
        return self.behind >= self.portions.within(WAITING_BYTES, self._most_behind)

    @property
    def nearly_paused(self) -> bool:
        """Whether so many wait for another attempt that it is time to do without some of them."""
        return 2 * len(self._waiting) >= self.waiting_limit

    @property
    def may_probe(self) -> bool:
        """Whether something new may be tried although many wait: if it succeeds, they are at fault themselves."""
        return self.room > 0 and len(self._waiting) < 2 * self.waiting_limit

    @property
    def paused(self) -> str | None:
        """Why reading is paused (too many deliveries wait for another attempt); `None` if it isn't."""
        if len(self._waiting) >= self.waiting_limit:
            return f"{len(self._waiting)} deliveries wait for another attempt{self._first_waiting()}"
        return None

    @property
    def standing(self) -> str | None:
        """Which lane has waited longest where too many wait in lanes to read on; `None` where they don't."""
        if not self.crowded:
            return None
        lane, since = max(self.lane_waits(), key=lambda wait: wait[1], default=("", 0.0))
        if since < STANDING_AFTER:
            return None
        ahead = next((each.entry_id for each in self._held.values() if each.lane == lane), "?")
        return f"lane {lane[:100]} of {self.group} has waited {since:.0f} s behind entry {ahead}"

    def lane_waits(self) -> Iterator[tuple[str, float]]:
        """For how long the first has waited in each lane in which somebody waits."""
        now = time.monotonic()
        queues = (*self.lanes.queues(), *self.detours.outgoing.items())
        return ((lane, now - queue[0].received_at) for lane, queue in queues)

    def _first_waiting(self) -> str:
        first = next((self._held[key] for key in self._held if key in self._waiting), None)
        if first is None:
            return ""
        seconds = time.monotonic() - first.failing_since
        return f", the first ({first.type} {first.entry_id} of {first.stream}) for {seconds:.0f} s: {first.error}"

    @property
    def held_up(self) -> str | None:
        """Why deliveries don't end now: too many wait, or commits are refused; `None` if they do."""
        if reason := self.paused or self.standing:
            return reason
        refusals = [delivery.refused for delivery in self._held.values() if delivery.refused]
        return f"commits are refused ({len(refusals)} wait): {refusals[0]}" if refusals else None

    def in_hand(self) -> list[Delivery]:
        """Deliveries being handled: not those that wait for another attempt, in a lane or for a commit."""
        behind = {id(each) for _, queue in self.lanes.queues() for each in queue}
        behind.update(id(each) for queue in self.detours.outgoing.values() for each in queue)
        return [
            each
            for key, each in self._held.items()
            if key not in self._waiting and not each.refused and id(each) not in behind
        ]

    def take(self, entries: Iterable[Entry], *, recovered: bool = False) -> list[Delivery]:
        """Take entries in hand, in order; those that are held already, or gone from the stream, are left out."""
        taken: list[Delivery] = []
        size, now = 0, time.monotonic()
        for each in entries:
            stream, entry_id, fields = each.stream, each.entry_id, each.fields
            key = (stream, entry_id)
            if fields is None:
                note_loss(self.group, stream, entry_id, "was trimmed before it was handled")
            elif key not in self._held:
                delivery = self._held[key] = Delivery(stream, entry_id, each.attempt, fields, now, recovered)
                if len(fields) == 1:  # nearly always
                    [event] = fields.values()
                    delivery.size = len(event)
                else:
                    _remember(delivery)
                    delivery.size = sum(map(len, fields.values()))
                size += delivery.size
                taken.append(delivery)
        if taken:
            self.portions.saw(len(taken), size)
        return taken

    def wait(self, delivery: Delivery, verdict: TryAgain, *, others_pass: bool = False) -> None:
        """It waits for another attempt, and no longer takes up room in hand. `others_pass`: others have succeeded."""
        if verdict.counts:
            delivery.recovered = False  # it reported back: whatever fails it does not kill the process
        due = time.monotonic() + verdict.after.total_seconds()
        self._waiting[delivery.key] = Waiting(delivery, due, verdict.counts, others_pass)
        self.changed()

    def waiters(self) -> list[Waiting]:
        """Those that wait for another attempt, as they came."""
        return list(self._waiting.values())

    def waits(self, delivery: Delivery) -> bool:
        """Whether it waits for another attempt."""
        return delivery.key in self._waiting

    @property
    def next_due(self) -> float:
        """Seconds until the next attempt is due."""
        first = min((each.due for each in self._waiting.values()), default=float("inf"))
        return max(0.0, first - time.monotonic())

    @property
    def unspent(self) -> list[DeliveryKey]:
        """Deliveries whose latest attempt has cost nothing: it has not reported yet, or no fault was its own."""
        return [key for key in self._held if key not in self._waiting or not self._waiting[key].counts]

    def resume(self, delivery: Delivery) -> None:
        """Its next attempt begins."""
        self._waiting.pop(delivery.key, None)

    def next_in_lane(self, delivery: Delivery) -> Delivery | None:
        """Who may go now that this delivery is done and has left its lane."""
        follower = None if delivery.lane is None else self.lanes.leave(delivery.lane)
        if follower is not None:
            follower.began_at = time.monotonic()
        return follower

    def release(self, deliveries: Iterable[Delivery]) -> None:
        """They have come to their end, or are somebody else's now."""
        held, waiting = self._held, self._waiting
        for delivery in deliveries:
            key = delivery.key
            held.pop(key, None)
            if waiting:
                waiting.pop(key, None)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for room or for work."""
        self._changed.set()

    async def change(self, timeout: float) -> None:
        """Return when something has changed, after `timeout` seconds at the latest."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return


def _remember(delivery: Delivery) -> None:
    """Continue the counts from before it was put aside."""
    past = Past.read(delivery.entry_id, delivery.fields) if delivery.stream.endswith(":retry") else None
    if past is not None:
        delivery.past = past
        delivery.attempt += past.attempts
        delivery.failures = past.failures
