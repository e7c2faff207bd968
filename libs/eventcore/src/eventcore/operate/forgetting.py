"""Forgetting somebody: finds what is told of them in records, streams, dead letters and aside, and takes it out."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from eventcore.events.personal_data import MASK, Person, PersonalData, Records, changes, members, said_by, without
from eventcore.server.keys import aside_key, dead_letter_stream, retry_stream
from eventcore.server.script import Script

from .entries import pages, parsed
from .inspection import Inspector
from .inspection.aside import entries_aside
from .inspection.ids import parse_id, text
from .inspection.names import scan_pattern
from .inspection.replies import RawFields

# Looked at in one go, which keeps the server busy for a few milliseconds at most.
AT_ONCE = 100
TRIES = 5
UNFINISHED = "not finished by every group that reads it: ask again once it is"
ASIDE = "waits for another attempt: ask again once it is handled"
CHANGING = "changed again and again meanwhile: ask again"
NO_EVENT = "is no event that can be taken apart: eventcore dlq purge"
# Shorter ones are not looked for in free text: "7" says nothing, and stands everywhere.
SHORTEST, NEVER = 3, "(?!)"
# The facts of a letter that may quote its event.
QUOTING = (b"error", b"traceback")
Rows = Mapping[str, Mapping[str, Any]]
"""What the server says of each group of a stream."""


@dataclass(slots=True)
class Findings:
    """What was found of them in one place, and what has become of it."""

    place: str
    found: int = 0
    masked: int = 0
    removed: int = 0
    left: dict[str, int] = field(default_factory=dict)

    def leave(self, why: str) -> None:
        """One more stays as it is."""
        self.left[why] = self.left.get(why, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        left = [{"count": count, "why": why} for why, count in self.left.items()]
        return {"place": self.place, "found": self.found, "masked": self.masked, "removed": self.removed, "left": left}


@cache
def _script(name: str) -> Script:
    return Script.named(name, allow_oom=True)


class Forgetting:
    """One person, to be forgotten in all that is declared; without `change` it is only looked for."""

    def __init__(self, inspector: Inspector, declared: Sequence[PersonalData], person: Person, *, change: bool) -> None:
        self._inspector, self._redis = inspector, inspector.redis
        self._person, self._change = person, change
        self._declared = declared
        self._findings: dict[str, Findings] = {}

    async def run(self) -> list[Findings]:
        """Find what is theirs, then take it out. May be asked for again at any time."""
        for each in self._records():
            async for key, fields in self._all(each):
                named = said_by(fields, each.names)
                self._person.meet(each.about(key), named, tells=said_by(fields, each.optional))
        streams = await self._inspector.streams()
        for stream in streams:
            async for fields in self._everything_in(stream):
                for about, said in self._said_in(fields):
                    self._person.meet(about, said, tells=said)
        await self._take_out_of_records()
        for stream in streams:
            await self._take_out_of(stream)
        if self._change:
            await self._take_out_of_records(again=True)  # a commit that was under way may have written it once more
        return [each for each in self._findings.values() if each.found]

    def _in(self, place: str) -> Findings:
        return self._findings.setdefault(place, Findings(place))

    def _records(self) -> list[Records]:
        return [records for each in self._declared for records in each.records]

    async def _all(self, records: Records) -> AsyncIterator[tuple[str, RawFields]]:
        before, _, after = records.keys.partition("*")
        pattern = scan_pattern(self._inspector.key(before)) + scan_pattern(after)[:-1]
        keys: list[str] = []
        async for key in self._redis.scan_iter(match=pattern, count=1000, _type="hash"):
            keys.append(text(key))
            if len(keys) == AT_ONCE:
                for row in await self._hashes(keys):
                    yield row
                keys = []
        for row in await self._hashes(keys):
            yield row

    async def _hashes(self, keys: Sequence[str]) -> list[tuple[str, RawFields]]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        names = [key.removeprefix(self._inspector.prefix) for key in keys]
        return list(zip(names, await pipeline.execute(), strict=True))

    async def _take_out_of_records(self, *, again: bool = False) -> None:
        for records in self._records():
            for about in sorted(self._person.theirs):
                await self._take_out_of_record(records, about, again=again)

    async def _take_out_of_record(self, records: Records, about: str, *, again: bool) -> None:
        key, findings = self._inspector.key(records.key(about)), self._in(records.keys)
        for attempt in range(TRIES):
            fields: Any = await self._redis.hgetall(key)
            new = changes(fields, records, self._person.has)
            if not new:
                return
            findings.found += attempt == 0 and not again
            if not self._change:
                return
            words = [word for name, value in new.items() for word in _expected(name, fields[name], value)]
            if await self._eval("forget", key, words):
                findings.masked += not again
                return
        findings.leave(CHANGING)

    async def _everything_in(self, stream: str) -> AsyncIterator[RawFields]:
        names = await self._groups(stream)
        for name in (stream, *(retry_stream(stream, group) for group in names), dead_letter_stream(stream)):
            async for _, fields in self._entries(name):
                yield fields
        for group in names:
            async for _, fields in entries_aside(self._redis, self._inspector.prefix, stream, group):
                yield fields

    async def _entries(self, name: str) -> AsyncIterator[tuple[str, RawFields]]:
        if await self._inspector.is_stream(name):
            async for page in pages(self._redis, self._inspector.key(name)):
                for row in page:
                    yield row

    async def _groups(self, stream: str) -> Rows:
        return await self._inspector.groups(stream) if await self._inspector.is_stream(stream) else {}

    def _said_in(self, fields: RawFields) -> list[tuple[str, list[str]]]:
        """What an entry is about, by each declaration, and what it says of people."""
        event = parsed(fields.get(b"event"))
        data = event.get("data") if isinstance(event, dict) else None
        if not isinstance(data, dict):
            return []
        return [(str(data[each.about]), members(data, each.events)) for each in self._declared if each.about in data]

    def _tells(self, fields: RawFields) -> bool:
        return any(self._person.is_told_by(about, said) for about, said in self._said_in(fields))

    async def _take_out_of(self, stream: str) -> None:
        names = await self._groups(stream)
        await self._take_out_of_stream(stream, names)
        for group in names:
            retries = retry_stream(stream, group)
            await self._take_out_of_stream(retries, await self._groups(retries))
            async for _, fields in entries_aside(self._redis, self._inspector.prefix, stream, group):
                if self._tells(fields):
                    findings = self._in(aside_key(stream, group))
                    findings.found += 1
                    findings.leave(ASIDE)
        await self._take_out_of_letters(dead_letter_stream(stream))

    async def _take_out_of_stream(self, name: str, readers: Rows) -> None:
        """Entries can't be changed. One that all groups had finished with when `readers` were asked may be deleted."""
        findings = self._in(name)
        async for entry_id, fields in self._entries(name):
            if not self._tells(fields):
                continue
            findings.found += 1
            if not await self._is_finished(name, entry_id, readers):
                findings.leave(UNFINISHED)
            elif self._change:
                findings.removed += int(await self._redis.xdel(self._inspector.key(name), entry_id))

    async def _is_finished(self, name: str, entry_id: str, readers: Rows) -> bool:
        for group, row in readers.items():
            if parse_id(entry_id) > parse_id(text(row["last-delivered-id"])):
                return False
            if await self._redis.xpending_range(self._inspector.key(name), group, entry_id, entry_id, 1):
                return False
        return bool(readers)

    async def _take_out_of_letters(self, name: str) -> None:
        findings = self._in(name)
        if not await self._inspector.is_stream(name):
            return
        end = parse_id(text((await self._redis.xinfo_stream(self._inspector.key(name)))["last-generated-id"]))
        async for letter_id, fields in self._entries(name):
            if parse_id(letter_id) > end:
                return  # those that stand here in place of others
            if self._tells(fields):
                findings.found += 1
                if self._change:
                    words = [letter_id, *(word for pair in self._blotted(fields).items() for word in pair)]
                    findings.masked += int(await self._eval("rewrite_letter", self._inspector.key(name), words))
            elif not self._said_in(fields) and self._is_quoted(fields):
                findings.found += 1
                findings.leave(NO_EVENT)

    def _blotted(self, fields: RawFields) -> dict[bytes, bytes]:
        """A letter that tells nothing of them, and can be redriven as before."""
        event = parsed(fields[b"event"])
        for each in self._declared:
            event["data"] = without(event["data"], Records("*", optional=each.events), self._person.has)
        blotted = {name: self._masked(value) if name in QUOTING else value for name, value in fields.items()}
        return {**blotted, b"event": json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")}

    def _masked(self, value: bytes) -> bytes:
        return self._quoted.sub(MASK, value.decode("utf-8", "replace")).encode()

    def _is_quoted(self, fields: RawFields) -> bool:
        return any(self._quoted.search(value.decode("utf-8", "replace")) for value in fields.values())

    @cached_property
    def _quoted(self) -> re.Pattern[str]:
        """What is known of them in the end, where it stands alone."""
        longest_first = sorted((each for each in self._person.told if len(each) >= SHORTEST), key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or NEVER})(?!\w)", re.IGNORECASE)

    async def _eval(self, script: str, key: str, words: Sequence[Any]) -> Any:
        return await self._redis.eval(_script(script).source, 1, key, *words)


def _expected(name: bytes, old: bytes, new: bytes | None) -> tuple[bytes, bytes, bytes, bytes]:
    """What the script takes for a field."""
    return name, old, b"0" if new is None else b"1", new or b""
