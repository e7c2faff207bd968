"""Every name that a service may import is tested in a file of its name, or in one that CONTRIBUTING.md names."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import eventcore
from eventcore import EventcoreError

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "libs/eventcore/tests"
FACE = [
    (module, name)
    for module in ("eventcore", "eventcore.web", "eventcore.testing")
    for name in importlib.import_module(module).__all__
]


def told_of(name: str) -> list[Path]:
    """The files in which CONTRIBUTING.md says that a name is tested."""
    rows = re.findall(r"^\| (.+) \| (`test_.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    files = {path.name: path for path in (*TESTS.glob("test_*.py"), *(ROOT / "tests").glob("test_*.py"))}
    return [
        files[file] for names, told in rows if f"`{name}`" in names for file in re.findall(r"`(test_\w+\.py)`", told)
    ]


@pytest.mark.parametrize(("module", "name"), FACE, ids=lambda text: text)
def test_a_public_name_is_tested_where_one_looks_for_it(module: str, name: str) -> None:
    words = [*module.split(".")[1:], re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()]
    own = TESTS / f"test_{'_'.join(words)}.py"
    files = [own] if own.exists() else told_of(name)
    assert any(re.search(rf"\b{name}\b", file.read_text()) for file in files), files


def test_every_public_error_is_caught_as_an_eventcore_error() -> None:
    kinds = [each for name in eventcore.__all__ if isinstance(each := getattr(eventcore, name), type)]
    errors = [each for each in kinds if issubclass(each, Exception)]
    assert len(errors) > 10
    assert [each for each in errors if not issubclass(each, EventcoreError)] == []


def test_no_name_stands_in_contributing_that_is_no_longer_public() -> None:
    known = {name for _, name in FACE}
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| names | tested in |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([A-Za-z_]+)`", table)) - known == set()
