"""AsyncAPI's own parser has nothing against the documents."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from . import node

pytestmark = node.MARKS
DOCUMENTS = sorted((Path(__file__).parents[2] / "docs/asyncapi").glob("*.yaml"))


@pytest.mark.usefixtures("packages")
def test_the_documents_are_valid_and_a_broken_one_is_not(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    content = yaml.safe_load(DOCUMENTS[0].read_text())
    del content["components"]["messages"]["inventory.reserved"]
    broken.write_text(yaml.safe_dump(content))

    found = node.run("node", "validate.mjs", *map(str, [*DOCUMENTS, broken]))

    complaints = [line for line in found.stdout.splitlines() if ": error " in line or ": warning " in line]
    assert {line.partition(":")[0] for line in complaints} == {str(broken)}, found.stdout
    assert {line for line in found.stdout.splitlines() if ": AsyncAPI 3.0.0, " in line} == {
        f"{path}: AsyncAPI 3.0.0, {len(yaml.safe_load(path.read_text())['operations'])} operations"
        for path in DOCUMENTS
    }
