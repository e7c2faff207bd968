"""Writes into docs/modules.md and docs/architecture.md what modules and rooms of eventcore say of themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.chart_reference import ROOT

PAGE, ARCHITECTURE = ROOT / "docs/modules.md", ROOT / "docs/architecture.md"
SOURCE = ROOT / "libs/eventcore/src/eventcore"
INTRODUCTION = """# Modules of eventcore

Written by `python -m scripts.modules_page` from the first sentence of each module; rooms in the order of
[imports](architecture.md#layers), from top to bottom.
"""
ROW = re.compile(r"^\| (?P<floor>\d) \| `(?P<name>\w+)` \| (?P<sentence>.*?) \| (?P<forbidden>.*?) ?\|$", re.MULTILINE)


class Room(NamedTuple):
    """A folder of eventcore, or a module beside the folders, as docs/architecture.md has it."""

    floor: int
    name: str
    forbidden: frozenset[str]

    @property
    def path(self) -> Path:
        """The folder, or the module."""
        folder = SOURCE / self.name
        return folder if folder.is_dir() else folder.with_suffix(".py")


def rooms() -> list[Room]:
    """From top to bottom."""
    rows = ROW.finditer(ARCHITECTURE.read_text(encoding="utf-8"))
    return [Room(int(row["floor"]), row["name"], frozenset(re.findall(r"`(\w+)`", row["forbidden"]))) for row in rows]


def said_by(path: Path) -> str:
    """The first paragraph of what a module, or the package in a folder, says of itself."""
    source = path / "__init__.py" if path.is_dir() else path
    told = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(told.partition("\n\n")[0].replace("|", "\\|").split())


def generated() -> dict[Path, str]:
    """What the documents ought to hold."""
    told = iter([said_by(room.path) for room in rooms()])
    text = ARCHITECTURE.read_text(encoding="utf-8")
    text = ROW.sub(lambda row: row[0].replace(row["sentence"], next(told), 1), text)
    return {ARCHITECTURE: text, PAGE: INTRODUCTION + "".join(part for room in rooms() for part in _section(room))}


def _section(room: Room) -> Iterator[str]:
    if not room.path.is_dir():
        return
    yield f"\n## {room.name}\n\n{said_by(room.path)}\n\n| module | what it is |\n|---|---|\n"
    for path in sorted(room.path.rglob("*.py")):
        module = path.parent if path.name == "__init__.py" else path
        if module != room.path:
            name = module.relative_to(room.path).with_suffix("")
            yield f"| [`{name}`](../{path.relative_to(ROOT)}) | {said_by(path)} |\n"


if __name__ == "__main__":
    for document, text in generated().items():
        document.write_text(text, encoding="utf-8")
