"""Retention: streams are trimmed, but never what a group has not finished with; full streams and losses are noticed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from datetime import timedelta
from functools import cache

from eventcore.commit.store import Store
from eventcore.consume.delivery import entry_time
from eventcore.consume.losses import notice_losses
from eventcore.errors import EventcoreError, Forbidden
from eventcore.events.envelope import timestamp
from eventcore.server.keys import aside_entries_key, aside_key, beats_key, dead_letter_stream, members_key
from eventcore.server.pipe import argument_shown
from eventcore.server.script import Call, Script, run_all, run_script

log = logging.getLogger(__name__)

TRIM_EVERY = timedelta(seconds=5)

# The group that holds up trimming, and the entry id that it waits for.
_HeldUp = tuple[str, str]
NOTHING_READ = "0-0"


@cache
def _script(name: str) -> Script:
    return Script.named(name, allow_oom=True)


class Retention:
    """Keeps the given streams, and their dead letters, within the limits of the settings.

    `redriven` are retry streams: kept like the others, but without dead letters of their own. Any number of processes
    may do so for the same streams.
    """

    def __init__(self, store: Store, streams: Iterable[str], *, redriven: Iterable[str] = ()) -> None:
        self._store, self._settings = store, store.settings
        main = tuple(streams)
        self._streams = (*main, *redriven)
        self._dead_letters = tuple(sorted({dead_letter_stream(stream) for stream in main}))
        self._held_up: dict[str, _HeldUp] = {}
        self._named: dict[str, str] = {}
        self._forbidden: str | None = None

    async def run(self) -> None:
        """Trim every few seconds, until cancelled."""
        while True:
            try:
                await self.trim()
                self._forbidden = None
            except EventcoreError as error:
                self._notice_refusal(error)
            await asyncio.sleep(TRIM_EVERY.total_seconds() * random.uniform(0.8, 1.2))

    def _notice_refusal(self, error: EventcoreError) -> None:
        """Say once, loudly, that nothing is trimmed for lack of a right: streams grow until they are full."""
        forbidden = str(error) if isinstance(error, Forbidden) else None
        if forbidden and forbidden != self._forbidden:
            log.warning("nothing is trimmed, so streams grow until they are full: %(error)s", {"error": forbidden})
        else:
            log.debug("nothing was trimmed this time: %(error)s", {"error": error})
        self._forbidden = forbidden or self._forbidden

    async def trim(self) -> int:
        """Trim once; how many entries went. Raises what Redis raises."""
        # What is finished must not fill a stream: then new events would be refused for as long as it is kept.
        keep = min(self._settings.stream_keep_entries, self._settings.stream_cap // 2)
        limits = [int(self._settings.stream_keep_seconds * 1000), keep]
        calls = [Call(_script("trim"), [self._store.key(stream)], limits) for stream in self._streams]
        keep_letters = [int(self._settings.dlq_keep_seconds * 1000)]
        calls += [Call(_script("trim_letters"), [self._store.key(name)], keep_letters) for name in self._dead_letters]
        asked_at = time.monotonic()
        *replies, now = await run_all(self._store.commands, calls, beside=[("TIME",)])
        if not isinstance(now, Exception):
            self._store.clock.note(int(now[0]) * 1000 + int(now[1]) // 1000, asked_at)
        gone = 0
        for stream, reply in zip(self._streams, replies, strict=False):
            if not isinstance(reply, Exception):
                _, removed, holder, waits_for = reply
                gone += removed
                await self._notice(stream, argument_shown(holder), argument_shown(waits_for))
        await self._notice_full()
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        await notice_losses(self._store.commands, self._streams, self._settings.key_prefix)
        return gone

    async def _notice(self, stream: str, holder: str, waits_for: str) -> None:
        """Say once, loudly, when a group holds up trimming; forget the group where the settings allow that.

        A group that has only just begun, or is catching up, is somewhere else at the next look.
        """
        stands = self._held_up.get(stream) == (holder, waits_for)
        self._held_up[stream] = (holder, waits_for)
        if not holder:
            self._named.pop(stream, None)
        elif stands and self._named.get(stream) != holder:
            log.warning(
                "%(stream)s can't be trimmed any further: %(group)s %(standing)s",
                {"stream": stream, "group": holder, "standing": _standing(waits_for)},
            )
            self._named[stream] = holder
        patience = self._settings.drop_groups_idle_seconds
        if holder and patience is not None:
            belongings = (beats_key, members_key, aside_key, aside_entries_key)
            names = (stream, *(key(stream, holder) for key in belongings))
            keys = [self._store.key(name) for name in names]
            call = Call(_script("drop_group"), keys, [holder, int(patience * 1000)])
            if await run_script(self._store.commands, call):
                log.error(
                    "dropped consumer group %(group)s of %(stream)s: no heartbeat for %(seconds)g s, as settings say",
                    {"group": holder, "stream": stream, "seconds": patience},
                )

    async def _notice_full(self) -> None:
        names = sorted(self._store.published_streams.union(self._streams))
        lengths = await self._store.commands.pipeline([("XLEN", self._store.key(name)) for name in names])
        full = {
            name
            for name, length in zip(names, lengths, strict=True)
            if isinstance(length, int) and length >= self._settings.stream_cap
        }
        for name in full - self._store.full_streams:
            log.error(
                "%(stream)s is at its hard cap of %(cap)d entries: new events are refused",
                {"stream": name, "cap": self._settings.stream_cap},
            )
        self._store.full_streams = full


def _standing(waits_for: str) -> str:
    """Where a group stands that waits for this entry id."""
    if waits_for == NOTHING_READ:
        return "has not read anything of it yet"
    since = entry_time(waits_for)
    return f"has not finished with it since {timestamp(since) if since else f'entry {waits_for}'}"
