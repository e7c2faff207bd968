"""What is in images and wheels, as CycloneDX."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.deploy.rendering import ROOT

ORDER = ROOT / "services/order/requirements.txt"
LOCKS = {
    "eventcore": ORDER,
    "contracts": ORDER,
    **{
        f"{each}-service": ROOT / f"services/{each}/requirements.txt" for each in ("order", "inventory", "notification")
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    done = subprocess.run([ROOT / "scripts/sbom", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def bill(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{name}.cdx.json").read_text())
    return content


def test_each_image_and_wheel_has_one(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {f"{name}.cdx.json" for name in LOCKS}
    assert {bill(folder, name)["metadata"]["component"]["name"] for name in LOCKS} == set(LOCKS)


@pytest.mark.timeout(240)  # the validator takes seconds, and more where others work
@pytest.mark.parametrize("name", ["contracts", "order-service"])
def test_it_fits_the_schema(folder: Path, name: str) -> None:
    text = (folder / f"{name}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


@pytest.mark.parametrize("name", LOCKS)
def test_it_lists_exactly_what_is_locked(folder: Path, name: str) -> None:
    locked = re.findall(r"^([\w.-]+)==(\S+)", LOCKS[name].read_text(), re.MULTILINE)
    listed = [(each["name"], each["version"]) for each in bill(folder, name)["components"]]
    assert sorted(listed) == sorted(locked)
    assert all(each["purl"].startswith("pkg:pypi/") for each in bill(folder, name)["components"])


def test_the_lock_that_libraries_take_holds_nothing_but_what_they_need() -> None:
    project = tomllib.loads((ROOT / "services/order/pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["contracts", "eventcore"]
