"""What eventcore measures, each metric defined once; never by an id, so that there are few of each.

Services define their own beside their rules, of the same instruments; `catalogue` has all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .instruments import Counts, Durations, Gauges

_STREAM, _GROUP, _TYPE, _OUTCOME = (
    "messaging.destination.name",
    "messaging.consumer.group.name",
    "eventcore.event.type",
    "eventcore.outcome",
)
_REDIS: Final = {"messaging.system": "redis"}
# Those of OpenTelemetry's conventions, and more at both ends: most handlers take less than a millisecond, mail doesn't.
_SECONDS = (
    *(0.0005, 0.001, 0.0025),
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(30, 60),
)

process_duration = Durations(
    "messaging.process.duration",
    "s",
    "Time from handing out a delivery until its end, by event type and outcome",
    (_STREAM, _GROUP, _TYPE, _OUTCOME),
    bounds=_SECONDS,
    constant=_REDIS | {"messaging.operation.name": "process"},
)
"""Outcomes: `handled`, `ignored`, `duplicate`, `failed` or `dead_lettered`."""

publish_duration = Durations(
    "messaging.client.operation.duration",
    "s",
    "Time from publishing an event until the server has it",
    (_STREAM, "error.type"),
    bounds=_SECONDS,
    constant=_REDIS | {"messaging.operation.name": "send", "messaging.operation.type": "send"},
)

commit_duration = Durations(
    "eventcore.commit.duration",
    "s",
    "Time from sending a commit until its answer; without a group where it settles no delivery",
    (_GROUP, _OUTCOME),
    bounds=_SECONDS,
    constant=_REDIS,
)
"""Outcomes: `committed`, `duplicate`, `guards_failed` or `failed`."""

dead_letters = Counts(
    "eventcore.dead_letters",
    "{event}",
    "Deliveries dead-lettered, by reason",
    (_STREAM, _GROUP, "reason"),
    constant=_REDIS,
)
retries = Counts("eventcore.retries", "{attempt}", "Further attempts begun", (_STREAM, _GROUP), constant=_REDIS)
put_aside = Counts(
    "eventcore.put_aside",
    "{event}",
    "Deliveries put aside because they would have waited for long",
    (_STREAM, _GROUP),
    constant=_REDIS,
)
takeovers = Counts(
    "eventcore.takeovers", "{event}", "Deliveries taken over from dead consumers", (_STREAM, _GROUP), constant=_REDIS
)
duplicates = Counts(
    "eventcore.duplicates",
    "{event}",
    "Deliveries that another consumer had committed already: nothing was written",
    (_STREAM, _GROUP),
    constant=_REDIS,
)
handed_back = Counts(
    "eventcore.handed_back",
    "{event}",
    "Deliveries not finished when their consumer left: handed back to its peers",
    (_STREAM, _GROUP),
    constant=_REDIS,
)
trimmed_unread = Counts(
    "eventcore.trimmed_unread",
    "{event}",
    "Events lost to trimming before their group had finished with them: must stay 0",
    (_STREAM, _GROUP),
    constant=_REDIS,
)

# Of groups and streams as they stand in Redis: each shown by one process of all, so that nothing is counted twice.
lag = Gauges("eventcore.lag", "{entry}", "Entries that the group has not been given yet", (_STREAM, _GROUP))
lag_age = Gauges(
    "eventcore.lag.age", "s", "Age of the first entry that the group has not been given yet", lag.attributes
)
pending = Gauges("eventcore.pending", "{entry}", "Entries handed out and not finished", lag.attributes)
pending_age = Gauges("eventcore.pending.age", "s", "Age of the oldest entry that is not finished", lag.attributes)
aside = Gauges("eventcore.aside", "{event}", "Deliveries that the group has put aside for now", lag.attributes)
aside_age = Gauges("eventcore.aside.age", "s", "Age of the oldest entry that is put aside", lag.attributes)
consumers = Gauges(
    "eventcore.consumers",
    "{consumer}",
    "Consumers of the group; a dead one is listed for as long as it holds something",
    (_STREAM, _GROUP, "eventcore.consumer.state"),
)
"""States: `alive` or `dead`."""
stream_length = Gauges("eventcore.stream.length", "{entry}", "Entries in the stream", (_STREAM,))
stream_memory = Gauges("eventcore.stream.memory", "By", "Memory that the stream takes on the server", (_STREAM,))
dead_letter_length = Gauges("eventcore.dead_letter.length", "{event}", "Dead letters of the stream", (_STREAM,))

# Of the server, as it tells of itself: also shown by one process of all; not at all where it does not let us ask.
redis_memory = Gauges(
    "eventcore.redis.memory", "By", "Memory that the server uses, as it counts it against its limit", constant=_REDIS
)
redis_memory_limit = Gauges(
    "eventcore.redis.memory.limit",
    "By",
    "Memory at which the server refuses writes; nothing without a limit",
    constant=_REDIS,
)
redis_clients = Gauges("eventcore.redis.clients", "{client}", "Connections to the server", constant=_REDIS)
redis_commands = Gauges("eventcore.redis.commands", "{command}/s", "Commands that the server runs", constant=_REDIS)
redis_append_only_ok = Gauges(
    "eventcore.redis.append_only.ok",
    "",
    "1 if the append-only file was last written and rewritten without an error, else 0; nothing where it is off",
    constant=_REDIS,
)
redis_snapshots_ok = Gauges(
    "eventcore.redis.snapshots.ok", "", "1 if the last snapshot went well, else 0", constant=_REDIS
)
redis_findings = Gauges(
    "eventcore.redis.findings",
    "",
    "Requirements that the server does not meet; `eventcore status` names them",
    constant=_REDIS,
)

# Of this process.
waiting = Gauges("eventcore.waiting", "{event}", "Deliveries waiting here for another attempt", (_GROUP,))
behind = Gauges("eventcore.lane.waiting", "{event}", "Deliveries waiting here behind others of their lane", (_GROUP,))
behind_age = Gauges("eventcore.lane.wait", "s", "Longest wait of a delivery behind others of its lane", (_GROUP,))
paused = Gauges(
    "eventcore.paused",
    "",
    "1 while deliveries are held up here: too many wait for another attempt, or commits are refused; else 0",
    (_GROUP,),
)
clock_skew = Gauges(
    "eventcore.clock.skew", "s", "How far the clock of this machine is ahead of the server's, which decides about ages"
)
event_loop_delay = Durations(
    "eventcore.event_loop.delay",
    "s",
    "Delay of the event loop: how long everything waits for what blocks it",
    bounds=_SECONDS,
)
request_duration = Durations(
    "http.server.request.duration",
    "s",
    "Duration of HTTP server requests",
    ("http.request.method", "url.scheme", "http.route", "http.response.status_code", "error.type"),
    bounds=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)
clients_limited = Counts(
    "eventcore.http.limited",
    "{request}",
    "Requests refused, and connections closed, because of a limit on a client's time or memory",
    ("eventcore.http.limit",),
)
"""Limits: `header_time`, `header_bytes`, `body_time`, `body_memory`, `body_values`, `body_encoding`, `unread_time`,
`unread_memory`, `rate`, `address_connections`."""
for _limit in (
    *("header_time", "header_bytes", "body_time", "body_memory", "body_values", "body_encoding"),
    *("unread_time", "unread_memory", "rate", "address_connections"),
):
    clients_limited.add(_limit, count=0)
tokens_refused = Counts(
    "eventcore.http.tokens.refused",
    "{request}",
    "Requests refused because of their token, or because they had none",
    ("eventcore.http.token.reason",),
)
"""Reasons: `missing`, `scheme`, `invalid`, `scope` or `keys` (those to check it with can't be had)."""
for _reason in ("missing", "scheme", "invalid", "scope", "keys"):
    tokens_refused.add(_reason, count=0)
uptime = Gauges("process.uptime", "s", "Time since the start")


def expect(stream: str, group: str, reasons: Iterable[str]) -> None:
    """Show the counters of a group from now on, with 0, so that the first time is seen as an increase."""
    for counts in (retries, put_aside, takeovers, duplicates, handed_back, trimmed_unread):
        counts.add(stream, group, count=0)
    for reason in reasons:
        dead_letters.add(stream, group, reason, count=0)
