"""Processing deliveries: decided, committed, settled. A batch of plain handlers costs one write to the server."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from msgspec.structs import replace

from eventcore import telemetry
from eventcore.commit.committer import (
    Acknowledgement,
    CommitAnswer,
    Committed,
    Committer,
    Duplicate,
    Fence,
    GuardsFailed,
    Work,
)
from eventcore.errors import Unavailable
from eventcore.events.envelope import Origin
from eventcore.server.pipe import WrongPassword
from eventcore.telemetry.measurements import duplicates

from .deciding import Decided, Decider, Undecided
from .delivery import Delivery, LetterRefused
from .in_flight import Holding
from .losses import Losses
from .portions import READ_BYTES
from .retry_policy import RetryPolicy

log = logging.getLogger(__name__)

_RECONNECTING = RetryPolicy(base=timedelta(milliseconds=100), ceiling=timedelta(seconds=5))


@dataclass(slots=True)
class Processor:
    """Takes deliveries from reading to their end: committed, dead-lettered, or left pending for another attempt.

    `tasks` are the batches in hand. `broken` is set where one failed by a defect of ours, which is `defect` then.
    """

    decider: Decider
    committer: Committer
    holding: Holding
    losses: Losses
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    defect: BaseException | None = None

    def start(self, deliveries: Sequence[Delivery]) -> asyncio.Task[None]:
        """Process deliveries beside all else; the task ends when each has come to its end."""
        task = asyncio.create_task(self.process(deliveries), name=f"{self.decider.router.group}-process")
        self.tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its deliveries stay pending, and for good as long as we live: a restart or a peer takes them up.
            log.critical("%(group)s stops: a defect in eventcore", {"group": self.decider.router.group}, exc_info=error)
            self.defect = self.defect or error
            self.broken.set()

    def give_up(self, delivery: Delivery) -> None:
        """Release a delivery that another consumer has now, and start the next of its lane."""
        self.holding.release([delivery])
        if (follower := self.holding.next_in_lane(delivery)) is not None:
            self.start([follower])

    async def process(self, deliveries: Sequence[Delivery]) -> None:
        """Process deliveries in order; returns when each has come to its end, or waits for its turn or another attempt.

        Plain handlers run at once and their transactions leave together. `async` handlers run side by side. Raises
        nothing on their behalf.
        """
        await asyncio.sleep(0)  # let the next read leave first: the server works on it while we decide
        while deliveries:
            followers: list[Delivery] = []
            decided: list[Decided] = []
            undecided: list[Undecided] = []
            size = 0
            for delivery in deliveries:
                decision = self.decider.decide(delivery)
                if isinstance(decision, Decided):
                    decided.append(decision)
                    size += delivery.size
                    if size > READ_BYTES:  # what large entries become is not to be on its way all at once
                        followers += await self._commit(decided)
                        decided, size = [], 0
                elif decision is not None:
                    undecided.append(decision)
            telemetry.HANDLED.set(None)
            if undecided:
                # Each goes on into its own lane's followers without waiting for the others.
                self._let_follow(followers)
                await asyncio.gather(self._commit_on(decided), *map(self._handle, undecided))
                return
            deliveries = followers + await self._commit(decided)

    def _let_follow(self, followers: list[Delivery]) -> None:
        if followers:
            self.start(followers)  # not awaited: a lane that never empties would pile up tasks

    async def _commit_on(self, decided: list[Decided]) -> None:
        self._let_follow(await self._commit(decided))

    async def _handle(self, undecided: Undecided) -> None:
        decided = await self.decider.wait_for(undecided)
        if decided is not None:
            await self._commit_on([decided])

    async def _commit(self, decided: list[Decided]) -> list[Delivery]:
        """Commit until each has its answer; the deliveries that were waiting in their lanes."""
        followers: list[Delivery] = []
        pauses = 0
        while decided:
            again: list[Decided] = []
            done: list[Decided] = []
            refused: Unavailable | None = None
            for answer, those in await self._answers(decided):
                if isinstance(answer, Committed):
                    done += those
                    continue
                if isinstance(answer, Unavailable):
                    refused = answer
                for each in those:
                    self._settle(each, answer, done, again)
            followers += self._finish(done)
            if refused is not None:
                pauses += 1
                if pauses == 1:
                    log.warning(
                        "commits of %(group)s are refused, %(count)d wait and are sent again: %(error)s",
                        {"group": self.decider.router.group, "count": len(again), "error": refused},
                    )
                await self._pause(pauses)
            decided = again
        return followers

    async def _answers(self, decided: Sequence[Decided]) -> Iterable[tuple[CommitAnswer, list[Decided]]]:
        """Send the commits, and one acknowledgement a stream for all that have nothing more to say.

        A lost reply is no reason to decide again: fenced work can be sent until it is answered.
        """
        full: list[Decided] = []
        bare: defaultdict[str, list[Decided]] = defaultdict(list)
        for each in decided:
            if each.transaction.is_empty:
                bare[each.delivery.stream].append(each)
            else:
                full.append(each)
        acknowledgements = [
            Acknowledgement(stream, self.decider.router.group, [each.delivery.entry_id for each in those])
            for stream, those in bare.items()
        ]
        answered = [*([each] for each in full), *bare.values()]
        try:
            answers = await self.committer.commit_all([self._work(each) for each in full], acknowledgements)
        except Unavailable as error:
            answers = [error] * len(answered)
        except WrongPassword as error:
            answers = [Unavailable(str(error))] * len(answered)
        return zip(answers, answered, strict=True)

    async def _pause(self, number: int) -> None:
        """Wait a little longer each time; not longer than until the connection is back."""
        longest = _RECONNECTING.backoff(number)
        pipe = self.committer.pipe
        if pipe.connected or isinstance(pipe.failure, WrongPassword):
            await asyncio.sleep(longest.total_seconds())
        else:
            with suppress(Unavailable, WrongPassword):
                await pipe.wait_connected(longest + timedelta(seconds=1))

    def _work(self, each: Decided) -> Work:
        delivery = each.delivery
        fence = Fence(delivery.stream, self.decider.router.group, delivery.entry_id)
        return Work(each.transaction, self._origin(delivery), fence)

    def _origin(self, delivery: Delivery) -> Origin:
        if delivery.metadata is None:
            return _NOWHERE
        origin = Origin.caused_by(delivery.metadata, self.decider.source)
        span = delivery.span
        return origin if span is None else replace(origin, traceparent=telemetry.traceparent_of(span))

    def _settle(
        self,
        each: Decided,
        answer: Duplicate | GuardsFailed | Exception,
        done: list[Decided],
        again: list[Decided],
    ) -> None:
        """Act on an answer other than "committed": add the delivery to `done`, or what to commit next to `again`."""
        sent_before = each.delivery.refused is not None
        each.delivery.refused = str(answer) if isinstance(answer, Unavailable) else None
        match answer:
            case Duplicate():
                if not sent_before:
                    self.losses.missing(each.delivery)
                duplicates.add(each.delivery.stream, self.decider.router.group)
                each.outcome = "duplicate"
                done.append(each)
                return
            case Unavailable():
                next_step: Decided | None = each
            case GuardsFailed(found):
                next_step = self.decider.decide_again(each, found)
            case error if each.outcome == "dead_lettered":
                # Nothing is left but to wait until the letter can be written.
                next_step = self.decider.failed(each.delivery, LetterRefused(f"can't dead-letter: {error}"))
            case error:
                next_step = self.decider.failed(each.delivery, error)
        if next_step is not None:
            again.append(next_step)

    def _finish(self, done: Sequence[Decided]) -> list[Delivery]:
        """Measure and let go of what is done; the deliveries that were waiting behind it in their lanes."""
        if telemetry.TRACING:
            _end_spans(done)
        deliveries: list[Delivery] = []
        followers: list[Delivery] = []
        for each in done:
            delivery = each.delivery
            deliveries.append(delivery)
            if each.outcome != "duplicate":
                for tally in each.transaction.counts:
                    tally.add()
                if each.announce is not None:
                    telemetry.HANDLED.set(delivery)
                    each.announce()
                    telemetry.HANDLED.set(None)
            if (follower := self.holding.next_in_lane(delivery)) is not None:
                followers.append(follower)
        self.decider.measure(done)
        self.holding.release(deliveries)
        return followers


def _end_spans(done: Iterable[Decided]) -> None:
    """End the spans of what is done, those that ended alike together."""
    alike: dict[str, list[telemetry.RecordedSpan]] = {}
    for each in done:
        delivery = each.delivery
        if delivery.span is not None:
            alike.setdefault(each.outcome, []).append(delivery.span)
            delivery.span = None
    for outcome, spans in alike.items():
        telemetry.end_spans(spans, outcome=outcome)


_NOWHERE = Origin("", "", "")
