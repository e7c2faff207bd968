"""What happens to deliveries is measured here: counted and timed, by event type and outcome, never by an id."""

from __future__ import annotations

from opentelemetry import metrics

from .durations import Durations

_meter = metrics.get_meter("eventcore")
# Those of OpenTelemetry's conventions, and more at both ends: most handlers take less than a millisecond, mail doesn't.
_seconds = (
    *(0.0005, 0.001, 0.0025),
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(30, 60),
)
# Keys are stream, group, event type, outcome.
_duration: Durations[tuple[str, str, str, str]] = Durations(
    "messaging.process.duration",
    "Time from a delivery's being handed out to its end, by event type and outcome",
    _seconds,
    lambda key: {**_place(*key[:2]), "eventcore.event.type": key[2], "eventcore.outcome": key[3]},
)
_dead_letters = _meter.create_counter("eventcore.dead_letters", "{event}", "Deliveries dead-lettered, by reason")
_retries = _meter.create_counter("eventcore.retries", "{attempt}", "Further attempts begun")
_takeovers = _meter.create_counter("eventcore.takeovers", "{event}", "Deliveries taken over from dead consumers")
_trimmed = _meter.create_counter("eventcore.trimmed_unread", "{event}", "Events lost to trimming: must stay 0")


def processed(stream: str, group: str, event_type: str, outcome: str, seconds: float, count: int = 1) -> None:
    """Attempts have ended, so many alike: `handled`, `ignored`, `duplicate`, `failed` or `dead_lettered`."""
    _duration.record(seconds, (stream, group, event_type, outcome), count)


def dead_lettered(stream: str, group: str, reason: str) -> None:
    """A delivery was given up."""
    _dead_letters.add(1, {**_place(stream, group), "reason": reason})


def retried(stream: str, group: str) -> None:
    """A further attempt begins."""
    _retries.add(1, _place(stream, group))


def took_over(stream: str, group: str, count: int) -> None:
    """Deliveries were claimed from a dead consumer."""
    _takeovers.add(count, _place(stream, group))


def trimmed_unread(stream: str, group: str) -> None:
    """An entry was gone before its group had finished with it."""
    _trimmed.add(1, _place(stream, group))


def _place(stream: str, group: str) -> dict[str, str]:
    return {
        "messaging.system": "redis",
        "messaging.destination.name": stream,
        "messaging.consumer.group.name": group,
    }
