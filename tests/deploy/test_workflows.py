"""Workflows, scripts and YAML: what linters say, and what they don't."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import LOADER, ROOT

BIN = ROOT / ".venv/bin"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
SCRIPTS = sorted(
    path
    for path in (ROOT / "scripts").iterdir()
    if path.is_file() and not path.suffix and path.read_text().startswith("#!/usr/bin/env bash")
)


def quiet(*command: str | Path) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=LOADER)  # noqa: S506 - it is the safe one


def test_zizmor_finds_nothing() -> None:
    quiet("zizmor", "--quiet", "--offline", "--persona", "pedantic", ".github")


def test_yamllint_is_content() -> None:
    quiet("yamllint", "--strict", ".github", "deploy")


def test_shellcheck_is_content() -> None:
    quiet("shellcheck", *SCRIPTS)


def test_workflows_and_dependabot_fit_their_schemas() -> None:
    quiet("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    quiet("check-jsonschema", "--builtin-schema", "vendor.dependabot", ROOT / ".github/dependabot.yml")


@every_workflow
def test_actions_are_pinned_by_commit_with_their_version(path: Path) -> None:
    uses = re.findall(r"uses: (.*)", path.read_text())
    for each in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+){2}", each), each


def test_an_action_has_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, pin in re.findall(r"uses: ([\w./-]+)@(.*)", path.read_text()):
            pins.setdefault(name, set()).add(pin)
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


@every_workflow
def test_a_workflow_has_no_rights_no_stored_credentials_a_time_limit_and_one_run_at_a_time(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    assert set(workflow["concurrency"]) == {"group", "cancel-in-progress"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert job["runs-on"] == "ubuntu-24.04"
        for step in job["steps"]:
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "values reach scripts by the environment"


@pytest.mark.parametrize("name", ["ci", "e2e"])
def test_one_job_speaks_for_all(name: str) -> None:
    jobs = load(ROOT / f".github/workflows/{name}.yaml")["jobs"]
    assert set(jobs[name]["needs"]) == set(jobs) - {name}
    assert jobs[name]["if"] == "always()"


def test_updates_wait_a_week() -> None:
    for each in load(ROOT / ".github/dependabot.yml")["updates"]:
        assert each["cooldown"]["default-days"] >= 7


def test_logs_are_always_uploaded() -> None:
    steps = load(ROOT / ".github/workflows/e2e.yaml")["jobs"]["kind"]["steps"]
    assert steps[-1]["if"] == "always()"
    assert "upload-artifact" in steps[-1]["uses"]


def test_releases_pin_the_digests_of_their_images(tmp_path: Path) -> None:
    chart = tmp_path / "values.yaml"
    chart.write_text((ROOT / "deploy/helm/ecommerce/values.yaml").read_text())
    digests = {
        name: f"sha256:{number * 64}" for name, number in (("order", "1"), ("inventory", "2"), ("notification", "3"))
    }
    for name, digest in digests.items():
        (tmp_path / name).write_text(digest + "\n")
    quiet_script: list[str | Path] = [ROOT / "scripts/pin-images", "registry.example.com/shop", tmp_path, chart]
    subprocess.run(quiet_script, check=True)
    values = load(chart)
    before = load(ROOT / "deploy/helm/ecommerce/values.yaml")
    assert values["image"]["prefix"] == "registry.example.com/shop"
    for name, digest in digests.items():
        assert values["services"][name].pop("image") == {"digest": digest}
    before["image"]["prefix"] = values["image"]["prefix"]
    assert values == before
    (tmp_path / "order").write_text("latest")
    done = subprocess.run(quiet_script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "order has no digest, but 'latest'" in done.stderr


def test_every_lock_is_audited() -> None:
    script = (ROOT / "scripts/audit").read_text()
    assert "requirements/*.txt services/*/requirements.txt" in script
    workflow = load(ROOT / ".github/workflows/audit.yaml")
    assert workflow[True]["schedule"]  # YAML 1.1 reads `on` as true
    for event in ("push", "pull_request"):
        assert {"requirements/**", "services/*/requirements.txt"} <= set(workflow[True][event]["paths"])


def test_releases_attest_and_attach_what_is_in_them() -> None:
    jobs = load(ROOT / ".github/workflows/release.yaml")["jobs"]
    runs = {name: " ".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    assert "make sbom" in runs["images"]
    assert "cosign attest --yes --type cyclonedx" in runs["images"]
    assert "build/sbom/*.cdx.json" in runs["release"]
    assert [name for name, job in jobs.items() if job["permissions"].get("contents") == "write"] == ["release"]
