"""The state of streams as JSON, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from eventcore.events.envelope import timestamp
from eventcore.operate.inspection import (
    AsideState,
    ConsumerState,
    DeadLetterState,
    GroupState,
    Progress,
    ServerState,
    StreamState,
)
from eventcore.operate.trends import Trends

from .problems import FoundProblem


def server_document(state: ServerState | None) -> dict[str, Any] | None:
    """The server itself, as far as we may know it."""
    if state is None:
        return None
    return {
        "version": state.version,
        "role": "replica" if state.is_replica else "master",
        "memoryBytes": state.memory,
        "memoryLimitBytes": state.memory_limit,
        "evictionPolicy": state.eviction_policy,
        "appendOnly": state.append_only,
        "appendOnlyOk": state.append_only_ok,
        "snapshotsOk": state.snapshots_ok,
    }


def stream_document(state: StreamState, trends: Trends) -> dict[str, Any]:
    """A stream with its groups and dead letters."""
    return {
        "stream": state.name,
        "exists": state.exists,
        "length": state.length,
        "entriesAdded": state.entries_added,
        "addedPerSecond": _rate(trends.added(state.name)),
        "lastGeneratedId": state.last_generated_id,
        "oldestAgeSeconds": _seconds(state.oldest_age),
        "newestAgeSeconds": _seconds(state.newest_age),
        "memoryBytes": state.memory,
        "deadLetters": _dead_letters(state.dead_letters),
        "groups": [_group(state, group, trends) for group in state.groups],
    }


def problem_document(problem: FoundProblem) -> dict[str, Any]:
    """A problem."""
    return {
        "severity": "critical" if problem.grave else "warning",
        "kind": problem.kind,
        "stream": problem.stream,
        "group": problem.group,
        "message": problem.text,
    }


def problem_documents(problems: Sequence[FoundProblem]) -> list[dict[str, Any]]:
    """All problems, in their order."""
    return [problem_document(problem) for problem in problems]


def _dead_letters(state: DeadLetterState) -> dict[str, Any]:
    return {
        "stream": state.stream,
        "length": state.length,
        "oldestAgeSeconds": _seconds(state.oldest_age),
        "newestAgeSeconds": _seconds(state.newest_age),
        "byGroup": dict(state.by_group),
        "byReason": dict(state.by_reason),
        "partial": state.partial,
    }


def _group(state: StreamState, group: GroupState, trends: Trends) -> dict[str, Any]:
    return {
        "group": group.name,
        **_progress(group.main),
        "lagPerSecond": _rate(trends.lag(state.name, group.name)),
        "donePerSecond": _rate(trends.done(state.name, group.name)),
        "deadLetters": group.dead_letters,
        "aside": _aside(group.aside, state),
        "consumers": [_consumer(consumer) for consumer in group.consumers],
        "retry": None
        if group.retry is None
        else {"stream": group.retry.stream, "length": group.retry.length, **_progress(group.retry)},
    }


def _aside(aside: AsideState, state: StreamState) -> dict[str, Any]:
    first = aside.next
    return {
        "count": aside.count,
        "oldestAgeSeconds": _seconds(aside.oldest_age),
        "next": None
        if first is None
        else {
            "entryId": first.entry_id,
            "dueInSeconds": round(first.due_at / 1000 - state.at.timestamp(), 3),
            "attempts": first.attempts,
            "lane": first.lane,
            "error": first.error,
        },
    }


def _progress(progress: Progress) -> dict[str, Any]:
    oldest = progress.oldest_pending
    return {
        "lag": progress.lag.entries,
        "lagCapped": progress.lag.capped,
        "lagSeconds": _seconds(progress.lag.age),
        "lastDeliveredId": progress.last_delivered_id,
        "pending": progress.pending,
        "oldestPending": None
        if oldest is None
        else {
            "entryId": oldest.entry_id,
            "consumer": oldest.consumer,
            "ageSeconds": _seconds(oldest.age),
            "idleSeconds": _seconds(oldest.idle),
            "attempts": oldest.attempts,
        },
    }


def _consumer(consumer: ConsumerState) -> dict[str, Any]:
    return {
        "consumer": consumer.name,
        "alive": consumer.alive,
        "left": consumer.left,
        "lastHeartbeat": timestamp(consumer.last_beat) if consumer.last_beat else None,
        "silentSeconds": _seconds(consumer.silent),
        "idleSeconds": _seconds(consumer.idle),
        "pending": consumer.pending,
        "retryPending": consumer.retry_pending,
        "handles": None if consumer.handles is None else sorted(consumer.handles),
    }


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 3)


def _rate(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)
