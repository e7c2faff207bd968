"""What the documents name exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EVENTCORE = ROOT / "libs/eventcore/src/eventcore"
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef


def named_tests() -> list[tuple[str, str]]:
    """(file, test) as `docs/guarantees.md` names them; `::test` alone belongs to the file before it."""
    found: list[tuple[str, str]] = []
    file = ""
    for path, test in re.findall(r"`([\w/.]*)::(test_\w+)`", (DOCS / "guarantees.md").read_text()):
        file = path or file
        found.append((file, test))
    return list(dict.fromkeys(found))


def test_every_guarantee_names_a_test_that_proves_it() -> None:
    _, _, *rows = [line for line in (DOCS / "guarantees.md").read_text().splitlines() if line.startswith("|")]
    assert [row for row in rows if "::test_" not in row] == []


@pytest.mark.parametrize(("file", "test"), named_tests())
def test_every_test_that_proves_a_guarantee_exists(file: str, test: str) -> None:
    assert re.search(rf"def {test}\b", (ROOT / file).read_text())


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_function_and_file_on_the_way_through_a_consumer_exists() -> None:
    text = re.sub(r"\s+", " ", (DOCS / "inside-a-consumer.md").read_text())
    files = {name: (EVENTCORE / name) for name in re.findall(r"`(\w+/[\w/]+\.(?:py|lua))`", text)}
    assert [name for name, path in files.items() if not path.exists()] == []
    named = re.findall(r"`([A-Za-z_.]+)` in `(\w+/[\w/]+\.(?:py|lua))`", text)
    assert len(named) > 40
    assert [(name, file) for name, file in named if name not in defined_in(files[file])] == []


def defined_in(path: Path) -> set[str]:
    """Functions, classes and their members: `Class.method`."""
    text = path.read_text()
    if path.suffix == ".lua":
        return set(re.findall(r"local function (\w+)", text))
    top = [each for each in ast.parse(text).body if isinstance(each, ast.ClassDef | DEFINITIONS)]
    members = ((each.name, member) for each in top for member in each.body if isinstance(member, DEFINITIONS))
    return {each.name for each in top} | {f"{name}.{member.name}" for name, member in members}


def test_every_setting_that_a_document_names_exists() -> None:
    from order_service.settings import OrderSettings

    known = {name.upper() for name in OrderSettings.model_fields}
    text = "".join(document.read_text() for document in DOCS.glob("*.md"))
    named = set(
        re.findall(r"`((?:REDIS|DEAD|STREAM|DLQ|DROP|CONSUMER|DRAIN|ORDER|KEY|EVICTION)_[A-Z_]+)(?:=\w+)?`", text)
    )
    assert named - known == set()


def test_every_value_that_the_hardening_checklist_names_exists() -> None:
    checklist = (DOCS / "security.md").read_text().partition("## Hardening")[2]
    named = re.findall(r"^\| `([\w.]+)` \|", checklist, re.MULTILINE)
    assert len(named) > 10
    values = yaml.safe_load((ROOT / "deploy/helm/ecommerce/values.yaml").read_text())
    for name in named:
        found = values
        for key in name.split("."):
            assert key in found, name
            found = found[key]
