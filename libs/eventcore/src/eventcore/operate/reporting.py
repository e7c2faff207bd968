"""Reporting: streams and groups as they stand in Redis, shown in the metrics of one process, not of every replica."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache, partial

from redis.exceptions import RedisError

from eventcore.commit.store import Store
from eventcore.errors import EventcoreError, Forbidden
from eventcore.server.client_errors import as_unavailable
from eventcore.server.pipe import Argument
from eventcore.server.requirements import Finding
from eventcore.server.script import Call, Script, run_all
from eventcore.telemetry import Gauges, measurements
from eventcore.telemetry.instruments import LabelValues

from .inspection import GroupState, Inspector, Progress, ServerState, StreamState, WrongType

log = logging.getLogger(__name__)

REPORT_EVERY = timedelta(seconds=3)
# Whoever reports and dies is succeeded after so long at the latest, and until the next look.
LEASE = timedelta(seconds=8)
# Stands among the leases of streams, for the server itself.
_SERVER = "redis"

Shown = dict[Gauges, dict[LabelValues, float]]


@cache
def _lease_script() -> Script:
    return Script.named("lease", allow_oom=True)


class Reporter:
    """Reports the given streams, and those that the store publishes to, unless somebody else does already.

    All processes that know a stream compete for its lease in Redis. So the groups of a service that is gone altogether
    are still reported, by those who publish for it or read beside it. Leaving gives the lease to the next at once.
    """

    def __init__(self, store: Store, streams: Iterable[str]) -> None:
        self._store, self._streams = store, frozenset(streams)
        settings = store.settings
        self._inspector = Inspector(
            store.redis,
            prefix=settings.key_prefix,
            dead_after=timedelta(seconds=settings.dead_after_seconds),
        )
        self._name = f"{store.source}:{settings.pod_name}:{random.getrandbits(32):08x}"
        self._shown: Shown = {}
        self._forbidden: str | None = None
        self._found: frozenset[Finding] | None = None
        self._looked_at = float("-inf")

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        unwatch = [gauges.watch(partial(self.shown, gauges)) for gauges in _GAUGES]
        unwatch.append(measurements.clock_skew.watch(self._store.clock.shown))
        try:
            while True:
                try:
                    await self.look()
                except (EventcoreError, RedisError, OSError) as error:
                    self._shown = {}
                    self._notice_refusal(error)
                await asyncio.sleep(REPORT_EVERY.total_seconds() * random.uniform(0.8, 1.2))
        finally:
            for each in unwatch:
                each()
            if self._store.commands.connected:  # else the lease runs out: nobody waits for a server at the end
                with suppress(EventcoreError):
                    await self._lease(timedelta(0))

    def _notice_refusal(self, error: Exception) -> None:
        """Say once, loudly, that metrics are missing for lack of a right."""
        known = as_unavailable(error) or error
        forbidden = str(known) if isinstance(known, Forbidden) else None
        if forbidden and forbidden != self._forbidden:
            log.warning("no metrics of streams and groups are shown: %(error)s", {"error": forbidden})
        else:
            log.debug("metrics of streams and groups are missing until the next look: %(error)s", {"error": error})
        self._forbidden = forbidden or self._forbidden

    async def look(self) -> None:
        """Look once at the streams that are ours to report. Raises what Redis raises, redis-py's errors too."""
        began = time.monotonic()
        ours = set(await self._lease(LEASE))
        streams = [state for name in sorted(ours - {_SERVER}) if (state := await self._look_at(name)) is not None]
        server = await self._inspector.server() if _SERVER in ours else None
        self._notice(server)
        self._shown, self._looked_at = state_shown(streams, server), began

    async def _look_at(self, stream: str) -> StreamState | None:
        try:
            return await self._inspector.stream(stream)
        except WrongType as error:  # no reason to be silent about the others
            log.debug("no metrics of this stream are shown: %(error)s", {"error": error})
            return None

    def _notice(self, server: ServerState | None) -> None:
        """Say what has become wrong with the server since the last look; what was so before was said at the start."""
        found = None if server is None else frozenset(server.findings)
        if found is not None and self._found is not None:
            for finding in found - self._found:
                log.warning("Redis no longer meets a requirement: %(finding)s", {"finding": finding})
        self._found = found

    def shown(self, gauges: Gauges) -> dict[LabelValues, float]:
        """What one metric shows of what was seen; nothing any more once the lease may be somebody else's."""
        if time.monotonic() - self._looked_at > LEASE.total_seconds():
            return {}
        return self._shown.get(gauges, {})

    async def _lease(self, time: timedelta) -> Sequence[str]:
        """The streams that are ours for so long, and the server."""
        streams = sorted({*self._streams, *self._store.published_streams, _SERVER})
        arguments: list[Argument] = [self._name, int(time.total_seconds() * 1000)]
        calls = [Call(_lease_script(), [self._store.key(f"{stream}:reporter")], arguments) for stream in streams]
        replies = await run_all(self._store.commands, calls)
        return [stream for stream, reply in zip(streams, replies, strict=True) if reply == 1]


_GAUGES = (
    measurements.lag,
    measurements.lag_age,
    measurements.pending,
    measurements.pending_age,
    measurements.aside,
    measurements.aside_age,
    measurements.consumers,
    measurements.stream_length,
    measurements.stream_memory,
    measurements.dead_letter_length,
    measurements.redis_memory,
    measurements.redis_memory_limit,
    measurements.redis_clients,
    measurements.redis_commands,
    measurements.redis_append_only_ok,
    measurements.redis_snapshots_ok,
    measurements.redis_findings,
)


def state_shown(streams: Iterable[StreamState], server: ServerState | None = None) -> Shown:
    """What the metrics show of these streams, retry streams among them, and of the server."""
    values: Shown = {gauges: {} for gauges in _GAUGES}
    if server is not None:
        _show_server(values, server)
    for stream in streams:
        values[measurements.stream_length][stream.name,] = stream.length
        values[measurements.dead_letter_length][stream.name,] = stream.dead_letters.length
        if stream.memory is not None:
            values[measurements.stream_memory][stream.name,] = stream.memory
        for group in stream.groups:
            _show_group(values, stream.name, group)
    return values


def _show_group(values: Shown, stream: str, group: GroupState) -> None:
    for progress in (group.main, group.retry):
        if progress is not None:
            _show_progress(values, group.name, progress)
    alive = sum(consumer.alive for consumer in group.consumers)
    values[measurements.consumers][stream, group.name, "alive"] = alive
    values[measurements.aside][stream, group.name] = group.aside.count
    oldest = group.aside.oldest_age
    values[measurements.aside_age][stream, group.name] = oldest.total_seconds() if oldest else 0
    dead = sum(consumer.holds > 0 for consumer in group.consumers if not consumer.alive)
    values[measurements.consumers][stream, group.name, "dead"] = dead


def _show_progress(values: Shown, group: str, progress: Progress) -> None:
    key = (progress.stream, group)
    oldest = progress.oldest_pending
    values[measurements.lag][key] = progress.lag.entries
    values[measurements.lag_age][key] = progress.lag.age.total_seconds()
    values[measurements.pending][key] = progress.pending
    values[measurements.pending_age][key] = oldest.age.total_seconds() if oldest else 0


def _show_server(values: Shown, server: ServerState) -> None:
    seen: dict[Gauges, float | None] = {
        measurements.redis_memory: server.memory,
        measurements.redis_memory_limit: server.memory_limit,
        measurements.redis_clients: server.clients,
        measurements.redis_commands: server.commands,
        measurements.redis_append_only_ok: server.append_only_ok if server.append_only else None,
        measurements.redis_snapshots_ok: server.snapshots_ok,
        measurements.redis_findings: len(server.findings),
    }
    for gauges, value in seen.items():
        if value is not None:
            values[gauges][()] = float(value)
