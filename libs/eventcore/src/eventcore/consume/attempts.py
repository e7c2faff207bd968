"""Further attempts. The group's pending entries list is the queue of retries; this is the clock beside it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterable, Sequence

from eventcore.telemetry.measurements import retries

from .aside import Aside
from .delivery import Delivery, DeliveryKey, TryAgain
from .group_member import Entry, GroupMember, Pending
from .in_flight import Holding

# From this attempt on, a delivery that was taken over is suspected of killing its process: it runs alone, so that its
# neighbours are not counted as killers with it.
SUSPECT_FROM = 3


class Retries:
    """Deliveries waiting for their next attempt, and entries recovered from a crash, a lost reply or a dead peer.

    Every attempt begins by claiming the entry again, which counts it before the handler runs and tells whether the
    entry is still ours.
    """

    def __init__(
        self,
        member: GroupMember,
        holding: Holding,
        start: Callable[[Sequence[Delivery]], asyncio.Task[None]],
        give_up: Callable[[Delivery], None],
        missing: Callable[[Delivery], None],
        aside: Aside,
        *,
        batch: int,
    ) -> None:
        self._member, self._holding, self._start, self._give_up = member, holding, start, give_up
        self._missing = missing
        self._aside, self._batch = aside, batch
        self._clock: list[tuple[float, int, Delivery, bool]] = []
        self._ticket = itertools.count()
        self._recovered: dict[DeliveryKey, Pending] = {}
        self._suspects: dict[DeliveryKey, Pending] = {}

    def add(self, delivery: Delivery, verdict: TryAgain, others_pass: bool) -> None:
        """Try this delivery again when its time has come. `others_pass`: others have succeeded while it failed."""
        if verdict.counts:
            delivery.recovered = False  # it reported back: whatever fails it does not kill the process
        due = time.monotonic() + verdict.after.total_seconds()
        heapq.heappush(self._clock, (due, next(self._ticket), delivery, verdict.counts))
        self._holding.wait(delivery)
        self._aside.consider(delivery, due, counts=verdict.counts, others_pass=others_pass)

    def recover(self, found: Iterable[Pending]) -> None:
        """Begin again with entries that are pending on us although we don't hold them."""
        for each in found:
            key = (each.stream, each.entry_id)
            if key not in self._holding:
                queue = self._suspects if each.attempt + 1 >= SUSPECT_FROM else self._recovered
                queue.setdefault(key, each)
        self._holding.changed()

    @property
    def recovering(self) -> bool:
        """Whether something older is still to be begun with before anything new is read; suspects don't count."""
        return bool(self._recovered)

    @property
    def unspent(self) -> list[DeliveryKey]:
        """Deliveries held whose latest attempt has cost nothing: it has not reported yet, or no fault was its own."""
        spent = {delivery.key for _, _, delivery, counts in self._clock if counts}
        return [key for key in self._holding if key not in spent]

    @property
    def next_due(self) -> float:
        """Seconds until the next attempt is due."""
        return max(0.0, self._clock[0][0] - time.monotonic()) if self._clock else float("inf")

    async def retry_due(self) -> None:
        """Begin the attempts whose time has come. Raises what claiming raises, and forgets nothing then."""
        now = time.monotonic()
        due = sorted(row for row in self._clock if row[0] <= now)
        groups: dict[tuple[str, bool], list[Delivery]] = {}
        for _, _, delivery, counts in due[: self._holding.portions.read(self._batch)]:  # the others come next
            groups.setdefault((delivery.stream, counts), []).append(delivery)
        for (stream, counts), deliveries in groups.items():
            entries = await self._member.claim(stream, [each.entry_id for each in deliveries], counts=counts)
            chosen = {each.key for each in deliveries}
            self._clock = [row for row in self._clock if row[2].key not in chosen]
            heapq.heapify(self._clock)
            self._begin(deliveries, {entry.entry_id: entry for entry in entries})

    async def put_aside(self) -> None:
        """Put aside what would wait here for too long. Raises `NoGroup`."""
        await self._aside.put()
        if any(row[2].key not in self._holding for row in self._clock):
            self._clock = [row for row in self._clock if row[2].key in self._holding]
            heapq.heapify(self._clock)

    def _begin(self, deliveries: Sequence[Delivery], entries: dict[str, Entry]) -> None:
        batch: list[Delivery] = []
        for delivery in deliveries:
            self._aside.stays(delivery)
            entry = entries.get(delivery.entry_id)
            if entry is None or entry.fields is None:  # a peer took it over while we were silent, or it was deleted
                if entry is None:
                    self._missing(delivery)
                self._holding.take([entry] if entry else [])
                self._give_up(delivery)
                continue
            earlier = delivery.past.attempts if delivery.past else 0
            delivery.attempt, delivery.received_at = earlier + entry.attempt, time.monotonic()
            self._holding.resume(delivery)
            retries.add(delivery.stream, self._holding.group)
            batch.append(delivery)
        if batch:
            self._start(batch)

    async def retry_recovered(self) -> None:
        """Begin with what was recovered, as far as there is room; the suspects stay for `retry_suspect`."""
        while room := min(self._holding.room, self._holding.portions.read(self._batch)):
            chosen = list(itertools.islice(self._recovered.values(), room))
            if not chosen:
                return
            for stream, pending in itertools.groupby(chosen, key=lambda each: each.stream):
                await self._claim_recovered(stream, list(pending))

    async def retry_suspect(self) -> bool:
        """Run one suspect to its end, alone among suspects; whether there was one."""
        suspect = next(iter(self._suspects.values()), None)
        if suspect is None:
            return False
        await self._claim_recovered(suspect.stream, [suspect], to_the_end=True)
        return True

    async def _claim_recovered(self, stream: str, pending: Sequence[Pending], *, to_the_end: bool = False) -> None:
        entries = await self._member.claim(stream, [each.entry_id for each in pending], counts=True)
        for each in pending:
            self._recovered.pop((stream, each.entry_id), None)
            self._suspects.pop((stream, each.entry_id), None)
        self._holding.changed()
        batch = self._holding.take(entries, recovered=True)
        for _ in batch:
            retries.add(stream, self._holding.group)
        if batch:
            processing = self._start(batch)
            if to_the_end:
                await asyncio.wait([processing])
