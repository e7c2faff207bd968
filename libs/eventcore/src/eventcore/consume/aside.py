"""Putting aside: deliveries that wait long leave their stream, so that trimming and other deliveries go on."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from eventcore.errors import EventcoreError, OutcomeUnknown
from eventcore.events.odd_records import OddRecords
from eventcore.settings import Settings
from eventcore.telemetry.measurements import put_aside

from .delivery import ATTEMPTS, ENTRY_ID, FAILURES, LANE, LAST_ERROR, PAST_FIELDS, Delivery
from .group_member import GroupMember, Leaving, NoGroup
from .in_flight import Holding, Waiting
from .losses import Losses, note_loss
from .settling import Processor

log = logging.getLogger(__name__)

# What keeps failing for so long while others succeed is at fault itself: nothing is gained by holding it any longer.
OWN_FAULT_AFTER = 2.0
# So many may wait in one lane here, behind whoever has it, once they wait for long: the others go aside.
MOST_IN_A_LANE = 32
LONG_IN_A_LANE = 2.0
# How long what is aside stays there: an eighth to a quarter of the time for which it has been tried so far, or longer
# where the retry policy or the handler says so.
LONGEST_ASIDE, LONGEST_BEHIND = 300.0, 60.0
LEAST_BEHIND = 5.0
# Nothing is put aside for longer: what asks for more is looked at again and again.
MOST_SECONDS = 30 * 86_400.0
# In one call, which keeps the server busy for a few milliseconds at most.
MOST_SENT_ASIDE, ENOUGH_BYTES, MOST_FIELDS = 128, 512 * 1024, 1000
AGAIN_AFTER_REFUSAL = 5.0
# Of lane and error, for whoever looks.
LONGEST_ERROR = 300
# What comes back at once, and how often in a row.
MOST_BACK, MOST_ROUNDS = 200, 20


class Aside:
    """Chooses what is put aside, and puts it there with all that follows in its lane.

    Where Redis refuses that, or CONSUMER_ASIDE is reached, deliveries stay pending and wait here.
    """

    def __init__(
        self, member: GroupMember, holding: Holding, processor: Processor, losses: Losses, settings: Settings
    ) -> None:
        self._member, self._holding, self._processor, self._losses = member, holding, processor, losses
        self._detours = holding.detours
        self._limit, self._after = settings.consumer_aside, settings.aside_after_seconds
        self._rest_until = 0.0
        self._told = False
        self._odd = OddRecords(f"what {member.group} has put aside as")
        self.problem: str | None = None
        """Why what was put aside does not come back, if it doesn't."""

    async def put(self) -> None:
        """Put aside all that is chosen. Raises `NoGroup`; after any other error all stays pending."""
        now = time.monotonic()
        if not self._limit:
            return
        self._look_at_waiters(now)
        if now < self._rest_until:
            return
        self._cut_long_lanes(now)
        while batch := self._batch(now):
            try:
                answers = await self._member.put_aside(batch, limit=self._limit)
            except NoGroup:
                raise
            except EventcoreError as error:
                for leaving in batch:
                    leaving.delivery.maybe_aside |= isinstance(error, OutcomeUnknown)
                self._refused(str(error))
                return
            for leaving, ours in zip(batch, answers, strict=False):
                self._went(leaving, now, ours=ours)
            if len(answers) < len(batch):
                self._refused(f"{self._limit} deliveries are aside, and no more may be")
                return
            self._told = False

    async def bring_back(self) -> None:
        """Bring back what is due; after an error it stays aside."""
        self._detours.prune(time.monotonic())
        try:
            for _ in range(MOST_ROUNDS):
                count, lost, unreadable = await self._member.bring_back(MOST_BACK)
                for stream, name in lost:
                    note_loss(self._member.group, stream, name, "was deleted while it was put aside")
                for name in unreadable:
                    self._odd.leave_out(name, ValueError(name))
                if count < MOST_BACK:
                    break
            self.problem = None
        except EventcoreError as error:
            self._keep_out(error)

    def _look_at_waiters(self, now: float) -> None:
        for each in self._holding.waiters():
            if each.away_until is None:
                each.away_until = self._away_until(each, now)

    def _away_until(self, waiting: Waiting, now: float) -> float:
        """Until when it goes aside, where it waits too long to be held; 0 if it doesn't."""
        delivery = waiting.delivery
        tried = delivery.tried_for(now)
        own_fault = waiting.others_pass and (tried >= OWN_FAULT_AFTER or self._holding.nearly_paused)
        too_long = own_fault or tried + waiting.due - now >= self._after
        if not too_long or len(delivery.fields) > MOST_FIELDS:
            return 0.0
        return max(waiting.due, now + _patience(tried, LONGEST_ASIDE))

    def _keep_out(self, error: EventcoreError) -> None:
        """Log why nothing comes back, once for each reason."""
        before, self.problem = self.problem, f"can't bring back what was put aside: {error}"
        if before != self.problem:
            said = {"group": self._member.group, "error": error}
            log.error("%(group)s can't bring back what was put aside: %(error)s", said)

    def _cut_long_lanes(self, now: float) -> None:
        most = 0 if self._holding.crowded else MOST_IN_A_LANE
        for lane, queue in list(self._holding.lanes.queues()):
            if len(queue) > most and now - queue[0].received_at > LONG_IN_A_LANE:
                self._detours.close(lane, self._holding.lanes.cut(lane, most))

    def _batch(self, now: float) -> list[Leaving]:
        """The next to go, in order, of one main stream: not too many at once."""
        batch: list[Leaving] = []
        size = 0
        for leaving in islice(self._leaving(now), MOST_SENT_ASIDE):
            if batch and (leaving.stream != batch[0].stream or size > ENOUGH_BYTES):
                break
            batch.append(leaving)
            size += sum(map(len, leaving.words))
        return batch

    def _leaving(self, now: float) -> Iterator[Leaving]:
        """All deliveries to put aside: each that waits for another attempt, then those behind it in its lane."""
        heads = [each for each in self._holding.waiters() if each.away_until]
        for head in heads:
            lane = head.delivery.lane
            spent = head.delivery.attempt if head.counts else head.delivery.attempt - 1
            leaving = self._leave(head.delivery, (head.away_until or now) - now, spent)
            yield leaving
            if lane is not None:
                self._detours.close(lane, self._holding.lanes.cut(lane))
                yield from self._followers(lane, leaving.name)
        taken = {head.delivery.lane for head in heads}
        for lane in [lane for lane in self._detours.outgoing if lane not in taken]:
            tried = self._detours.outgoing[lane][0].tried_for(now)
            least = 0.0 if self._detours.is_away(lane, now) else max(LEAST_BEHIND, _patience(tried, LONGEST_BEHIND))
            yield from self._followers(lane, "", least)

    def _followers(self, lane: str, after: str, wait: float = 0.0) -> Iterator[Leaving]:
        for delivery in self._detours.outgoing.get(lane, ()):
            leaving = self._leave(delivery, wait, delivery.attempt - 1, after)
            yield leaving
            after = leaving.name

    def _leave(self, delivery: Delivery, wait: float, spent: int, after: str = "") -> Leaving:
        main = self._member.main_stream(delivery.stream)
        name = delivery.origin_id
        if delivery.past is None and delivery.stream != main:
            name = f"retry:{name}"  # it may have the id of another entry, of the main stream
        if not after and delivery.lane is not None:
            after = self._detours.before(delivery.lane, delivery)
        milliseconds = int(min(max(0.0, wait), MOST_SECONDS) * 1000)
        tried = int(delivery.tried_for(time.monotonic()) * 1000)
        return Leaving(main, delivery, name, after, milliseconds, tried, _words(delivery, spent))

    def _went(self, leaving: Leaving, now: float, *, ours: bool) -> None:
        """Release a delivery that is aside now or, if not `ours`, belongs to another consumer."""
        delivery = leaving.delivery
        if delivery.lane is not None:
            self._detours.departed(delivery.lane, delivery, leaving.name, now + leaving.wait / 1000)
        if ours:
            put_aside.add(delivery.stream, self._member.group)
            said = {"seconds": leaving.wait / 1000, "error": delivery.error or "behind others of its lane"}
            facts = {"stream": delivery.stream, "group": self._member.group, "entryId": delivery.entry_id}
            log.info("put aside for %(seconds).0f s: %(error)s", said, extra=facts)
        else:
            self._losses.missing(delivery)
        if not self._holding.waits(delivery):
            self._holding.release([delivery])
            return
        if delivery.lane is not None:  # whoever has come to the lane meanwhile follows
            self._detours.close(delivery.lane, self._holding.lanes.cut(delivery.lane))
        self._processor.give_up(delivery)

    def _refused(self, why: str) -> None:
        """Log the refusal once; followers wait in their lanes again, unless those before them are aside already."""
        if not self._told:
            said = {"group": self._member.group, "error": why}
            log.error("%(group)s can't put aside, so what waits stays pending: %(error)s", said)
        self._told = True
        now = time.monotonic()
        self._rest_until = now + AGAIN_AFTER_REFUSAL
        for lane in [lane for lane in self._detours.outgoing if not self._detours.is_away(lane, now)]:
            queue = self._detours.outgoing.pop(lane)
            free = [delivery for delivery in queue if self._holding.lanes.enter(lane, delivery)]
            if free:
                self._processor.start(free)


def _patience(tried: float, longest: float) -> float:
    return min(longest, tried * random.uniform(0.125, 0.25))


def _words(delivery: Delivery, spent: int) -> list[bytes]:
    """Names and values of the entry to add when it comes back: the event and its history."""
    past: dict[bytes, bytes] = {
        ENTRY_ID: delivery.origin_id.encode(),
        ATTEMPTS: b"%d" % max(0, spent),
        FAILURES: b"%d" % delivery.failures,
    }
    if delivery.lane is not None:
        past[LANE] = delivery.lane[:LONGEST_ERROR].encode("utf-8", "replace")
    if delivery.error:
        past[LAST_ERROR] = delivery.error[:LONGEST_ERROR].encode("utf-8", "replace")
    raw = [(name, value) for name, value in delivery.fields.items() if name not in PAST_FIELDS]
    return list(_flat((*raw, *past.items())))


def _flat(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for pair in pairs:
        yield from pair
