"""Further attempts: the group's pending entries are what is retried, and claiming an entry begins an attempt."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from operator import attrgetter

from eventcore.telemetry.measurements import retries

from .delivery import SUSPECT_FROM, Delivery, DeliveryKey
from .group_member import Entry, GroupMember, Pending
from .in_flight import Holding
from .losses import Losses
from .settling import Processor


class Retries:
    """Begins the attempts that are due, and those of entries recovered from a crash, a lost reply or a dead peer.

    Every attempt begins by claiming the entry again, which counts it before the handler runs and tells whether the
    entry is still ours.
    """

    def __init__(
        self, member: GroupMember, holding: Holding, processor: Processor, losses: Losses, *, batch: int
    ) -> None:
        self._member, self._holding, self._processor, self._losses = member, holding, processor, losses
        self._batch = batch
        self._recovered: dict[DeliveryKey, Pending] = {}
        self._suspects: dict[DeliveryKey, Pending] = {}

    def recover(self, found: Iterable[Pending]) -> None:
        """Take in hand entries that are pending on this consumer although it doesn't hold them."""
        for each in found:
            key = (each.stream, each.entry_id)
            if key not in self._holding:
                queue = self._suspects if each.attempt + 1 >= SUSPECT_FROM else self._recovered
                queue.setdefault(key, each)
        self._holding.changed()

    @property
    def recovering(self) -> bool:
        """Whether recovered entries have to begin before new ones are read; suspects don't count."""
        return bool(self._recovered)

    async def retry_due(self) -> None:
        """Begin the attempts whose time has come. Raises what claiming raises, and forgets nothing then."""
        now = time.monotonic()
        due = sorted((each for each in self._holding.waiters() if each.due <= now), key=attrgetter("due"))
        groups: dict[tuple[str, bool], list[Delivery]] = {}
        for each in due[: self._holding.portions.read(self._batch)]:  # the others come next
            groups.setdefault((each.delivery.stream, each.counts), []).append(each.delivery)
        for (stream, counts), deliveries in groups.items():
            entries = await self._member.claim(stream, [each.entry_id for each in deliveries], counts=counts)
            self._begin(deliveries, {entry.entry_id: entry for entry in entries})

    def _begin(self, deliveries: Sequence[Delivery], entries: dict[str, Entry]) -> None:
        batch: list[Delivery] = []
        for delivery in deliveries:
            entry = entries.get(delivery.entry_id)
            if entry is None or entry.fields is None:  # a peer took it over while we were silent, or it was deleted
                if entry is None:
                    self._losses.missing(delivery)
                self._holding.take([entry] if entry else [])
                self._processor.give_up(delivery)
                continue
            earlier = delivery.past.attempts if delivery.past else 0
            delivery.attempt, delivery.received_at = earlier + entry.attempt, time.monotonic()
            self._holding.resume(delivery)
            retries.add(delivery.stream, self._holding.group)
            batch.append(delivery)
        if batch:
            self._processor.start(batch)

    async def retry_recovered(self) -> None:
        """Begin attempts of recovered entries, as far as there is room; suspects are left to `retry_suspect`."""
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
            processing = self._processor.start(batch)
            if to_the_end:
                await asyncio.wait([processing])
