"""Deciding: run the handler of a delivery; where it fails, apply the rules for failures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, cast

from msgspec import Struct
from opentelemetry.trace import SpanContext

from eventcore import telemetry
from eventcore.commit.transaction import NOTHING, Found, Transaction, plain
from eventcore.errors import ENDS_PROCESS, Forbidden, GuardFailed
from eventcore.events.canonical import Opener
from eventcore.events.envelope import Metadata, Origin, decode
from eventcore.events.event import Event
from eventcore.server.client_errors import as_unavailable
from eventcore.telemetry.measurements import dead_letters, process_duration
from eventcore.telemetry.trouble import summary_of

from .delivery import SUSPECT_FROM, UNKNOWN, CrashLoop, DeadLetter, Delivery, LetterReason, TryAgain, Verdict, judge
from .handler_task import Failure, decision_of
from .in_flight import Holding
from .letter import FAILED_ATTEMPT, bare_letter, letter
from .retry_policy import RetryPolicy
from .router import Handler, Router

log = logging.getLogger(__name__)

# A transaction whose guards fail again after each new decision is chasing a moving target; then it is a failed attempt.
_MOST_DECISIONS = 8


class Decided(Struct, gc=False):
    """A delivery with the transaction decided for it."""

    delivery: Delivery
    transaction: Transaction
    outcome: str = "handled"
    decisions: int = 1
    announce: Callable[[], None] | None = None
    """To be called once it is committed."""


class Undecided(Struct, frozen=True, gc=False):
    """A delivery whose handler has to be awaited; `call` calls it."""

    delivery: Delivery
    handler: Handler
    call: Callable[[], Any]

    async def decision(self) -> Transaction | Failure:
        """What it decides, or how it fails."""
        seconds = self.handler.timeout.total_seconds()
        return await decision_of(self.call, seconds, or_none=self.handler.may_return_none)


@dataclass(slots=True)
class Decider:
    """Decides upon deliveries to one group, and commits nothing. What is to be tried again waits in `holding`.

    No more than `concurrency` `async` handlers run at once. `passed_at` is when a handler's decision was last
    committed.
    """

    router: Router
    consumer: str
    source: str
    dead_letter_cap: int
    rollout: timedelta
    holding: Holding
    concurrency: int
    passed_at: float = 0.0
    _slots: asyncio.Semaphore = field(init=False)
    _opener: Opener = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.concurrency)
        self._opener = Opener([handler.event for handler in self.router.handlers.values()])

    def decide(self, delivery: Delivery) -> Decided | Undecided | None:
        """What becomes of a delivery, or how to find out; `None` if it waits for its turn or for another attempt."""
        try:
            return self._decide_upon(delivery)
        except ENDS_PROCESS:
            raise
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything
            telemetry.HANDLED.set(delivery)  # what is logged now is about this one, whoever was handled before it
            return self.failed(delivery, error)

    def _decide_upon(self, delivery: Delivery) -> Decided | Undecided | None:
        """Decide at once, or say how to find out (`async` handlers); `None` if the delivery has to wait in its lane."""
        if delivery.event is None:
            self._open(delivery)
        event, metadata = delivery.event, delivery.metadata
        if event is None or metadata is None:  # there is no handler for it
            return Decided(delivery, NOTHING, "ignored")
        handler = self.router.handlers[delivery.type]
        if delivery.lane is None and self._must_wait(delivery, event):
            return None
        if delivery.recovered and delivery.attempts_here > max(handler.most_attempts, SUSPECT_FROM):
            # Where fewer attempts are allowed, a few deaths of the process are still nobody's fault in particular.
            raise CrashLoop(f"{delivery.attempts_here - 1} attempts began and none of them reported back")
        if telemetry.TRACING:
            self._begin_span(delivery, metadata)
        if handler.is_async:
            return Undecided(delivery, handler, partial(handler, event, metadata))
        telemetry.HANDLED.set(delivery)
        delivery.event = None  # whatever lives as long as its batch costs the collector; a later attempt opens it anew
        if delivery.span is None and metadata.baggage is None:
            return Decided(delivery, plain(handler(event, metadata), or_none=handler.may_return_none))
        token = telemetry.enter(delivery.span or _carried(metadata), metadata.baggage)
        try:
            return Decided(delivery, plain(handler(event, metadata), or_none=handler.may_return_none))
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
        """Whether another delivery is ahead in its lane, if it has one; the delivery enters the lane now."""
        lane = event.lane_key()
        if lane is None:
            return False
        delivery.lane = lane = str(lane)  # a subclass of the event may answer anything
        holding = self.holding
        if (delivery.past is not None or holding.detours) and holding.detours.takes(lane, delivery, time.monotonic()):
            holding.changed()
            return True
        return not holding.lanes.enter(lane, delivery)

    def _begin_span(self, delivery: Delivery, metadata: Metadata) -> None:
        carried = metadata.traceparent
        if carried and not telemetry.is_recorded(carried):
            return
        about = telemetry.processing(delivery.stream, self.router.group, self.consumer, delivery.type, delivery.attempt)
        # The attempt after which it was dead-lettered, if it was and has been redriven, did not cause this one.
        failed_before = delivery.fields.get(FAILED_ATTEMPT)
        links = telemetry.links_to(failed_before) if failed_before else ()
        event_id, entry_id = metadata.event_id, delivery.entry_id
        if carried and telemetry.is_valid(carried):
            delivery.span = telemetry.begin(about, carried, metadata.tracestate, event_id, entry_id, links)
        else:
            made = Origin.caused_by(metadata, self.source).traceparent
            delivery.span = telemetry.begin_trace(about, made[3:35], event_id, entry_id, links)

    async def wait_for(self, undecided: Undecided) -> Decided | None:
        """Run an `async` handler; `None` when the delivery will be tried again."""
        delivery = undecided.delivery
        try:
            telemetry.HANDLED.set(delivery)
            metadata = cast("Metadata", delivery.metadata)  # nobody handles what has none
            with telemetry.current(delivery.span or _carried(metadata), metadata.baggage):
                async with self._slots:
                    delivery.began_at = time.monotonic()
                    decision = await undecided.decision()
        except Exception as error:  # noqa: BLE001 - a cancellation that comes this far is the consumer's
            return self.failed(delivery, error)
        if isinstance(decision, Failure):
            return self.failed(delivery, decision.error)
        return Decided(delivery, decision)

    def decide_again(self, each: Decided, found: Found) -> Decided | None:
        """What to commit instead, now that a guard has failed; `None` when the delivery will be tried again."""
        try:
            transaction = each.transaction.decide_again(found) if each.decisions < _MOST_DECISIONS else None
        except ENDS_PROCESS:
            raise
        except BaseException as error:  # noqa: BLE001 - `otherwise` is a handler's code
            return self.failed(each.delivery, error)
        if transaction is None:
            failed = ", ".join(map(str, found.failed))
            return self.failed(each.delivery, GuardFailed(f"guard failed: {failed}", found))
        return Decided(each.delivery, transaction, each.outcome, each.decisions + 1)

    def failed(self, delivery: Delivery, error: BaseException) -> Decided | None:
        """Judge a failure: a dead letter to commit, or `None` when the delivery stays pending for another attempt."""
        now = time.monotonic()
        delivery.failures += 1
        delivery.failing_since = delivery.failing_since or now
        try:
            known = as_unavailable(error) or error
            delivery.refused = str(known) if isinstance(known, Forbidden) else None
            return self._act_on(self._verdict(delivery, known, now), delivery, known)
        except ENDS_PROCESS:
            raise
        except BaseException as trouble:  # noqa: BLE001 - the error's own class, for one, may break what looks at it
            return self._failed_twice(delivery, error, trouble)

    def _verdict(self, delivery: Delivery, error: BaseException, now: float) -> Verdict:
        handler = self.router.handlers.get(delivery.type)
        return judge(
            error,
            attempt=delivery.attempt,
            failures=delivery.failures,
            policy=handler.policy(error) if handler else self.router.retry or RetryPolicy(),
            waited=timedelta(seconds=delivery.tried_for(now)),
            rollout=self.rollout,
            give_up_after=handler.give_up_after if handler else None,
        )

    def _act_on(self, verdict: Verdict, delivery: Delivery, error: BaseException) -> Decided | None:
        if telemetry.TRACING and delivery.span is None and delivery.metadata is not None:
            self._begin_span(delivery, delivery.metadata)
        facts = {
            "stream": delivery.stream,
            "group": self.router.group,
            "entryId": delivery.entry_id,
            "eventType": delivery.type,
            "attempt": delivery.attempt,
            **delivery.ids,
        }
        if isinstance(verdict, DeadLetter):
            announce = partial(_announce, delivery.stream, self.router.group, verdict.reason, summary_of(error), facts)
            if delivery.span is not None:
                telemetry.fail(delivery.span, error)
            append = letter(delivery, error, verdict.reason, self.router.group, self.consumer, self.dead_letter_cap)
            return Decided(delivery, Transaction(then=[append]), outcome="dead_lettered", announce=announce)
        delivery.error = summary_of(error)
        said = {"seconds": verdict.after.total_seconds(), "error": delivery.error}
        log.warning("attempt failed, next in %(seconds).1f s: %(error)s", said, extra=facts)
        self.measure([Decided(delivery, NOTHING, "failed")])
        if delivery.span is not None:
            telemetry.end_spans([delivery.span], error, outcome="failed")
            delivery.span = None
        self.holding.wait(delivery, verdict, others_pass=self.passed_at > delivery.failing_since)
        return None

    def _failed_twice(self, delivery: Delivery, error: BaseException, trouble: BaseException) -> Decided | None:
        """Where judging a failure itself failed: another attempt by the default policy, or a dead letter."""
        facts = {"stream": delivery.stream, "group": self.router.group, "entryId": delivery.entry_id}
        log.error(
            "can't judge a failed attempt, so the default retry policy holds: %(defect)s; it failed with %(error)s",
            {"defect": summary_of(trouble), "error": summary_of(error)},
            extra=facts,
        )
        delivery.span = None
        delay = RetryPolicy().delay(delivery.attempt)
        if delay is None:
            append = bare_letter(delivery, error, self.router.group, self.dead_letter_cap)
            group, spent = self.router.group, LetterReason.ATTEMPTS_EXHAUSTED
            announce = partial(_announce, delivery.stream, group, spent, summary_of(error), facts)
            return Decided(delivery, Transaction(then=[append]), outcome="dead_lettered", announce=announce)
        self.holding.wait(delivery, TryAgain(delay))
        return None

    def measure(self, ended: Iterable[Decided]) -> None:
        """Note how long attempts took; those that were handed out together and ended alike are noted together."""
        now = time.monotonic()
        alike = Counter(
            [(each.delivery.stream, each.delivery.type, each.outcome, each.delivery.received_at) for each in ended]
        )
        for (stream, event_type, outcome, received_at), count in alike.items():
            if outcome == "handled":
                self.passed_at = now
            # Any type may stand in an entry; only those that we know become labels.
            known = event_type if event_type in self.router.handlers else UNKNOWN
            process_duration.record(now - received_at, stream, self.router.group, known, outcome, count=count)


def _announce(stream: str, group: str, reason: LetterReason, failure: str, facts: Mapping[str, object]) -> None:
    log.error("dead-lettered (%(reason)s): %(error)s", {"reason": reason, "error": failure}, extra=facts)
    dead_letters.add(stream, group, reason)


def _carried(metadata: Metadata) -> SpanContext:
    """The event's trace context, for what the handler does, also where the trace is not recorded."""
    origin = Origin.caused_by(metadata, "")
    return telemetry.context_of(origin.traceparent, origin.tracestate)
