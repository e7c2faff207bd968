"""Processing deliveries: decode, decide, commit. A batch of plain handlers costs one write to the server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace
from opentelemetry.trace import SpanContext

from . import telemetry
from .commit import Acknowledgement, Answer, Committed, Committer, Duplicate, Fence, GuardsFailed, Work
from .dead_letters import failed_attempt, letter
from .delivery import CrashLoop, DeadLetter, Delivery, TryAgain, judge, unknown
from .envelope import Metadata, Origin, decode
from .errors import GuardFailed, Unavailable
from .event import Event
from .lanes import Lanes
from .opening import Opener
from .pipe import WrongPassword
from .retries import suspect_from
from .retry import RetryPolicy
from .router import Router
from .telemetry.measurements import dead_letters, duplicates, process_duration
from .transaction import Found, Transaction

log = logging.getLogger(__name__)

# A transaction whose guards fail again after each new decision is chasing a moving target; then it is a failed attempt.
_most_decisions = 8
_reconnecting = RetryPolicy(base=timedelta(milliseconds=100), ceiling=timedelta(seconds=5))


class _Decided(Struct, gc=False):
    """A delivery with the transaction decided for it."""

    delivery: Delivery
    transaction: Transaction
    outcome: str = "handled"
    decisions: int = 1


class _Undecided(Struct, frozen=True, gc=False):
    """A delivery whose handler has to be awaited, for so many seconds at most."""

    delivery: Delivery
    handler: Callable[[], Any]
    seconds: float


@dataclass(slots=True)
class Processor:
    """Takes deliveries from reading to their end: committed, dead-lettered, or left pending for another attempt.

    `on_done` hears of deliveries that have left the group's pending entries, `on_retry` of each that stays there,
    with how to try again, `on_followers` of those whose turn in their lanes has come. No more than `concurrency`
    `async` handlers run at once.
    """

    router: Router
    committer: Committer
    consumer: str
    source: str
    dead_letter_cap: int
    rollout: timedelta
    on_done: Callable[[Sequence[Delivery]], None]
    on_retry: Callable[[Delivery, TryAgain], None]
    on_followers: Callable[[Sequence[Delivery]], object]
    concurrency: int
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _lanes: Lanes[Delivery] = field(default_factory=Lanes)
    _slots: asyncio.Semaphore = field(init=False)
    _opener: Opener = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.concurrency)
        self._opener = Opener([handler.event for handler in self.router.handlers.values()])

    async def process(self, deliveries: Sequence[Delivery]) -> None:
        """Process deliveries in order; returns when each has come to its end, or waits for its turn or another attempt.

        Plain handlers run at once and their transactions leave together. `async` handlers run side by side. Raises
        nothing on their behalf.
        """
        await asyncio.sleep(0)  # let the next read leave first: the server works on it while we decide
        while deliveries:
            decided: list[_Decided] = []
            undecided: list[_Undecided] = []
            for delivery in deliveries:
                decision = self._decide_or_fail(delivery)
                if isinstance(decision, _Decided):
                    decided.append(decision)
                elif decision is not None:
                    undecided.append(decision)
            telemetry.handled.set(None)
            if undecided:
                # Each goes on into its own lane's followers without waiting for the others.
                await asyncio.gather(self._commit_on(decided), *map(self._handle, undecided))
                return
            deliveries = await self._commit(decided)

    async def _commit_on(self, decided: list[_Decided]) -> None:
        if followers := await self._commit(decided):
            self.on_followers(followers)  # not awaited: a lane that never empties would pile up tasks

    async def _handle(self, undecided: _Undecided) -> None:
        decided = await self._await_handler(undecided)
        if decided is not None:
            await self._commit_on([decided])

    def _decide_or_fail(self, delivery: Delivery) -> _Decided | _Undecided | None:
        """What becomes of a delivery; a failure is decided upon, too, unless it is going to be tried again."""
        try:
            return self._decide(delivery)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            telemetry.handled.set(delivery)  # what is logged now is about this one, whoever was handled before it
            if telemetry.tracing and delivery.span is None and delivery.metadata is not None:
                self._begin_span(delivery, delivery.metadata)
            return self._failed(delivery, error)

    def _decide(self, delivery: Delivery) -> _Decided | _Undecided | None:
        """Decide at once, or say how to find out (`async` handlers); `None` if the delivery has to wait in its lane."""
        if delivery.event is None:
            self._open(delivery)
        event, metadata = delivery.event, delivery.metadata
        if event is None or metadata is None:  # there is no handler for it
            return _Decided(delivery, _nothing, "ignored")
        handler = self.router.handlers[delivery.type]
        if delivery.lane is None and self._must_wait(delivery, event):
            return None
        if delivery.recovered and delivery.attempt > max(handler.most_attempts, suspect_from):
            # Where fewer attempts are allowed, a few deaths of the process are still nobody's fault in particular.
            raise CrashLoop(f"{delivery.attempt - 1} attempts began and none of them reported back")
        if telemetry.tracing:
            self._begin_span(delivery, metadata)
        if handler.is_async:
            return _Undecided(delivery, partial(handler, event, metadata), handler.timeout.total_seconds())
        telemetry.handled.set(delivery)
        delivery.event = None  # whatever lives as long as its batch costs the collector; a later attempt opens it anew
        if delivery.span is None and metadata.baggage is None:
            return _Decided(delivery, _transaction(handler(event, metadata)))
        token = telemetry.enter(delivery.span or _carried(metadata), metadata.baggage)
        try:
            return _Decided(delivery, _transaction(handler(event, metadata)))
        finally:
            telemetry.leave(token)

    def _open(self, delivery: Delivery) -> None:
        """Find out what is in the delivery: the event as the class that its handler takes, if there is one for it."""
        opened = self._opener.open(delivery.fields)
        if opened is not None:
            delivery.type, delivery.metadata, delivery.event = opened.type, opened.metadata, opened.event
            return
        envelope = decode(delivery.fields)
        delivery.type, delivery.metadata = envelope.type, envelope.metadata
        handler = self.router.handlers.get(envelope.type)
        delivery.event = None if handler is None else envelope.open(handler.event)

    def _must_wait(self, delivery: Delivery, event: Event) -> bool:
        """Whether somebody is ahead in the lane that the delivery enters now, where it has one."""
        lane = delivery.lane = event.lane_key()
        return lane is not None and not self._lanes.enter(lane, delivery)

    def _begin_span(self, delivery: Delivery, metadata: Metadata) -> None:
        carried = metadata.traceparent
        if carried and not telemetry.records(carried):
            return
        about = telemetry.processing(delivery.stream, self.router.group, self.consumer, delivery.type, delivery.attempt)
        # The attempt after which it was dead-lettered, if it was and has been redriven, did not cause this one.
        failed_before = delivery.fields.get(failed_attempt)
        links = telemetry.links_to(failed_before) if failed_before else ()
        event_id, entry_id = metadata.event_id, delivery.entry_id
        if carried and telemetry.is_valid(carried):
            delivery.span = telemetry.begin(about, carried, metadata.tracestate, event_id, entry_id, links)
        else:
            made = Origin.caused_by(metadata, self.source).traceparent
            delivery.span = telemetry.begin_trace(about, made[3:35], event_id, entry_id, links)

    async def _await_handler(self, undecided: _Undecided) -> _Decided | None:
        """Run an `async` handler; `None` when the delivery will be tried again."""
        delivery, seconds = undecided.delivery, undecided.seconds
        limit = asyncio.timeout(seconds)
        try:
            telemetry.handled.set(delivery)
            metadata = cast("Metadata", delivery.metadata)  # nobody handles what has none
            with telemetry.current(delivery.span or _carried(metadata), metadata.baggage):
                async with self._slots, limit:
                    return _Decided(delivery, _transaction(await undecided.handler()))
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            late = TimeoutError(f"the handler did not finish within {seconds:g} s")
            return self._failed(delivery, late if limit.expired() else error)

    async def _commit(self, decided: list[_Decided]) -> list[Delivery]:
        """Commit until each has its answer; the deliveries that were waiting in their lanes."""
        followers: list[Delivery] = []
        pauses = 0
        while decided:
            again: list[_Decided] = []
            done: list[_Decided] = []
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
                    log.warning("commits are refused (%d wait): %s", len(again), refused)
                await self._pause(pauses)
            decided = again
        return followers

    async def _answers(self, decided: Sequence[_Decided]) -> Iterable[tuple[Answer, list[_Decided]]]:
        """Send the commits, and one acknowledgement a stream for all that have nothing more to say.

        A lost reply is no reason to decide again: fenced work can be sent until it is answered.
        """
        full: list[_Decided] = []
        bare: defaultdict[str, list[_Decided]] = defaultdict(list)
        for each in decided:
            if each.transaction.is_empty:
                bare[each.delivery.stream].append(each)
            else:
                full.append(each)
        acknowledgements = [
            Acknowledgement(stream, self.router.group, [each.delivery.entry_id for each in those])
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
        longest = _reconnecting.backoff(number)
        pipe = self.committer.pipe
        if pipe.connected or isinstance(pipe.failure, WrongPassword):
            await asyncio.sleep(longest.total_seconds())
        else:
            with suppress(Unavailable, WrongPassword):
                await pipe.wait_connected(longest + timedelta(seconds=1))

    def _work(self, each: _Decided) -> Work:
        delivery = each.delivery
        fence = Fence(delivery.stream, self.router.group, delivery.entry_id)
        return Work(each.transaction, self._origin(delivery), fence)

    def _origin(self, delivery: Delivery) -> Origin:
        if delivery.metadata is None:
            return _nowhere
        origin = Origin.caused_by(delivery.metadata, self.source)
        span = delivery.span
        return origin if span is None else replace(origin, traceparent=telemetry.traceparent_of(span))

    def _settle(
        self,
        each: _Decided,
        answer: Duplicate | GuardsFailed | Exception,
        done: list[_Decided],
        again: list[_Decided],
    ) -> None:
        """Act on an answer that is no plain "committed": is this delivery done, and what is to be committed next?"""
        each.delivery.refused = str(answer) if isinstance(answer, Unavailable) else None
        match answer:
            case Duplicate():
                duplicates.add(each.delivery.stream, self.router.group)
                each.outcome = "duplicate"
                done.append(each)
                return
            case Unavailable():
                next_step: _Decided | None = each
            case GuardsFailed(found):
                next_step = self._decide_again(each, found)
            case error if each.outcome == "dead_lettered":
                # Nothing is left but to wait until the letter can be written.
                next_step = self._failed(each.delivery, Unavailable(f"can't dead-letter: {error}"))
            case error:
                next_step = self._failed(each.delivery, error)
        if next_step is not None:
            again.append(next_step)

    def _decide_again(self, each: _Decided, found: Found) -> _Decided | None:
        try:
            transaction = each.transaction.decide_again(found) if each.decisions < _most_decisions else None
        except Exception as error:  # noqa: BLE001 - `otherwise` is a handler's code
            return self._failed(each.delivery, error)
        if transaction is None:
            failed = ", ".join(map(str, found.failed))
            return self._failed(each.delivery, GuardFailed(f"guard failed: {failed}", found))
        return _Decided(each.delivery, transaction, each.outcome, each.decisions + 1)

    def _finish(self, done: Sequence[_Decided]) -> list[Delivery]:
        """Measure and let go of what is done; the deliveries that were waiting behind it in their lanes."""
        if telemetry.tracing:
            _end_spans(done)
        deliveries: list[Delivery] = []
        followers: list[Delivery] = []
        for each in done:
            delivery = each.delivery
            deliveries.append(delivery)
            if each.outcome != "duplicate":
                for tally in each.transaction.counts:
                    tally.add()
            if (follower := self.next_in_lane(delivery)) is not None:
                followers.append(follower)
        self._measure(done)
        self.on_done(deliveries)
        return followers

    def _measure(self, ended: Sequence[_Decided]) -> None:
        """Note how long attempts took; those that were handed out together and ended alike are noted together."""
        now = time.monotonic()
        alike = Counter(
            [(each.delivery.stream, each.delivery.type, each.outcome, each.delivery.received_at) for each in ended]
        )
        for (stream, event_type, outcome, received_at), count in alike.items():
            # Any type may stand in an entry; only those that we know become labels.
            known = event_type if event_type in self.router.handlers else unknown
            process_duration.record(now - received_at, stream, self.router.group, known, outcome, count=count)

    def next_in_lane(self, delivery: Delivery) -> Delivery | None:
        """Who may go now that this delivery has left its lane."""
        return None if delivery.lane is None else self._lanes.leave(delivery.lane)

    def _failed(self, delivery: Delivery, error: Exception) -> _Decided | None:
        """Judge a failure: a dead letter to commit, or `None` when the delivery stays pending for another attempt."""
        delivery.failures += 1
        handler = self.router.handlers.get(delivery.type)
        verdict = judge(
            error,
            attempt=delivery.attempt,
            failures=delivery.failures,
            policy=handler.policy(error) if handler else self.router.retry,
            waited=datetime.now(UTC) - max(delivery.published_at, self.started_at),
            rollout=self.rollout,
        )
        facts = {
            "stream": delivery.stream,
            "group": self.router.group,
            "entryId": delivery.entry_id,
            "eventType": delivery.type,
            "attempt": delivery.attempt,
            **delivery.ids,
        }
        if isinstance(verdict, DeadLetter):
            log.error("dead-lettered (%s): %s", verdict.reason, error, extra=facts)
            dead_letters.add(delivery.stream, self.router.group, verdict.reason)
            if delivery.span is not None:
                telemetry.fail(delivery.span, error)
            append = letter(delivery, error, verdict.reason, self.router.group, self.consumer, self.dead_letter_cap)
            return _Decided(delivery, Transaction(then=[append]), outcome="dead_lettered")
        log.warning("attempt failed, next in %.1f s: %r", verdict.after.total_seconds(), error, extra=facts)
        self._measure([_Decided(delivery, _nothing, "failed")])
        if delivery.span is not None:
            telemetry.end_spans([delivery.span], error, outcome="failed")
            delivery.span = None
        self.on_retry(delivery, verdict)
        return None


def _carried(metadata: Metadata) -> SpanContext:
    """What a handler does and whom it talks to is part of the event's trace, also where that is not recorded."""
    origin = Origin.caused_by(metadata, "")
    return telemetry.context_of(origin.traceparent, origin.tracestate)


def _end_spans(done: Iterable[_Decided]) -> None:
    """End the spans of what is done, those that ended alike together."""
    alike: dict[str, list[telemetry.RecordedSpan]] = {}
    for each in done:
        delivery = each.delivery
        if delivery.span is not None:
            alike.setdefault(each.outcome, []).append(delivery.span)
            delivery.span = None
    for outcome, spans in alike.items():
        telemetry.end_spans(spans, outcome=outcome)


_nowhere = Origin("", "", "")
_nothing = Transaction()


def _transaction(decision: object) -> Transaction:
    if decision is None:
        return _nothing
    if not isinstance(decision, Transaction):
        raise TypeError(f"a handler returns a Transaction or None, not {type(decision).__name__}")
    return decision
