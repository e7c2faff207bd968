"""The files of schemas and examples: checked against the classes of events, and written for new versions.

A file of a version is never overwritten with another meaning: once an event of it may stand in a stream, that version
is what it is. The examples are the memory of what was really written; each must stay readable for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from eventcore.errors import EventcoreError
from eventcore.events.envelope import EventClass, decode
from eventcore.events.event import Version

from .comparing import compare
from .generating import data_schema, envelope_schema
from .model_names import Schema


def check(events: Iterable[EventClass], folder: Path) -> list[str]:
    """What is wrong, and what to do about it; nothing if every class is what its files say."""
    shelves = [_Shelf(event, folder / event.type) for event in events]
    found = [problem for shelf in shelves for problem in shelf.problems()]
    known = {shelf.event.type for shelf in shelves}
    strays = sorted(path.name for path in folder.glob("*/") if path.name not in known)
    found += [f"{name} is on file, but no event is of this type: delete {folder / name} once no stream holds one"
              for name in strays]  # fmt: skip
    if _read(folder / _ENVELOPE) != envelope_schema():
        found.append(f"{folder / _ENVELOPE} is not what eventcore reads: write it anew")
    return found


def write_schemas(events: Iterable[EventClass], folder: Path) -> list[str]:
    """Write the schema of each new version; what `check` still finds afterwards."""
    events = list(events)
    for event in events:
        shelf = _Shelf(event, folder / event.type)
        if not shelf.forbidden_changes():
            _write(shelf.path(event.version), data_schema(event))
    _write(folder / _ENVELOPE, envelope_schema())
    return check(events, folder)


_ENVELOPE = "envelope.json"


@dataclass(frozen=True, slots=True)
class _Shelf:
    """All versions of one event."""

    event: EventClass
    folder: Path

    def path(self, version: Version) -> Path:
        """Where the schema of a version stands."""
        return self.folder / f"{version}.json"

    def versions(self) -> list[Version]:
        """Those on file, oldest first."""
        return sorted(
            Version.parse(path.stem) for path in self.folder.glob("*.json") if path.suffixes[-2:] != _SUFFIXES
        )

    def problems(self) -> Iterator[str]:
        """What is wrong with this event."""
        if changed := self.forbidden_changes():
            yield from changed
            return  # examples that can't be read would only say it again
        if _read(self.path(self.event.version)) != data_schema(self.event):
            yield f"{self.path(self.event.version)} is missing, or its words are not those of the class: write it"
        for version in self._gaps():
            yield f"{self.path(version)} is missing: events of that version may stand in streams for ever"
        for version in self.versions():
            yield from self._unreadable(version)

    def forbidden_changes(self) -> list[str]:
        """What keeps the class from being written as its version."""
        return [*self._changes_without_version(), *self._changes_within_majors()]

    def _changes_without_version(self) -> Iterator[str]:
        """The class differs from what is on file as its version, or claims one that is older than those on file."""
        event, on_file = self.event, self.versions()
        if on_file and on_file[-1] > event.version:
            yield f"{event.type} is at {event.version}, but {on_file[-1]} is on file: versions don't go back"
        elif event.version in on_file:
            changes = compare(_read(self.path(event.version)), data_schema(event))
            if changes:
                yield "\n".join(
                    [
                        f"{event.__name__} is no longer what {event.type} {event.version} is on file:",
                        *(f"  {change}" for change in changes),
                        self._advice(breaking=any(change.breaking for change in changes)),
                    ]
                )

    def _changes_within_majors(self) -> Iterator[str]:
        """A minor that does more than to add optional fields to the one before it."""
        schemas = {version: _read(self.path(version)) for version in self.versions()}
        schemas.setdefault(self.event.version, data_schema(self.event))
        for _, minors in groupby(sorted(schemas), key=lambda version: version.major):
            for old, new in pairwise(minors):
                breaking = [change for change in compare(schemas[old], schemas[new]) if change.breaking]
                if breaking:
                    yield "\n".join(
                        [
                            f"{self.event.type} {new} can't be a minor version after {old}:",
                            *(f"  {change}" for change in breaking),
                            self._advice(breaking=True),
                        ]
                    )

    def _gaps(self) -> list[Version]:
        """Versions that must have been there, because later ones are."""
        latest = dict(sorted({*self.versions(), self.event.version}))  # of each major the latest minor
        majors = range(1, self.event.version.major + 1)
        wanted = [Version(major, minor) for major in majors for minor in range(latest.get(major, 0) + 1)]
        return [each for each in wanted if each not in self.versions() and each != self.event.version]

    def _advice(self, *, breaking: bool) -> str:
        major, minor = self.versions()[-1]
        if not breaking:
            return f'This only adds: give {self.event.__name__} version="{major}.{minor + 1}".'
        return (
            f"This breaks programs that run now, or events that are in streams: give {self.event.__name__} "
            f'version="{major + 1}.0" and an upcaster from {major}.'
        )

    def _unreadable(self, version: Version) -> Iterator[str]:
        """Examples that are missing, or can't be read any more."""
        path = self.folder / f"{version}.examples.json"
        examples = _read(path)
        if not examples:
            yield f"{path} is missing: put whole events of {self.event.type} {version} into it, as a list"
            return
        for number, example in enumerate(examples):
            where = f"{path}[{number}]"
            try:
                envelope = decode({b"event": json.dumps(example).encode()})
                envelope.open(self.event)
            except EventcoreError as error:
                yield f"{where} must stay readable for ever, but {self.event.__name__} says: {error}"
                continue
            if (envelope.type, envelope.version) != (self.event.type, version):
                yield f"{where} is an event of {envelope.type} {envelope.version}"


_SUFFIXES = [".examples", ".json"]


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _write(path: Path, content: Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
