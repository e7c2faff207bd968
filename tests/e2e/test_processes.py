"""The scenarios on processes: a real server, real services, real signals; the report is printed when all are played."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import catalogue, report
from tests.e2e.processes import Processes
from tests.e2e.running import run

Publish = Callable[[report.Row], None]


@pytest.fixture
def publish(request: pytest.FixtureRequest, testrun_uid: str) -> Publish:
    """Add a row to the report of this test run. Who adds the last one, in whichever worker, writes and prints it."""
    folder = request.config.rootpath / report.DEFAULT_PATH.parent
    rows = folder / "rows" / testrun_uid
    rows.mkdir(parents=True, exist_ok=True)
    expected = sum(item.path == request.node.path for item in request.session.items)

    def add(row: report.Row) -> None:
        report.write([row], rows / f"{row.scenario}.json")
        played = [row for each in catalogue.SCENARIOS for row in report.read(rows / f"{each.name}.json")]
        if len(played) < expected:
            return
        report.write(played, folder / "report.json")
        shutil.rmtree(rows)
        # Straight to the terminal, past whatever captures: a worker that tests are distributed to has no other way.
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{report.table(played)}\n", file=sys.__stderr__, flush=True)

    return add


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scenario", catalogue.on("process"), ids=lambda scenario: scenario.name)
async def test_every_accepted_order_comes_to_one_end_through(
    scenario: catalogue.Scenario, publish: Publish, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    artefacts = request.config.rootpath / report.DEFAULT_PATH.parent / "artefacts"
    row = await run(Processes(tmp_path), scenario, artefacts)
    publish(row)
    assert row.good, report.table([row])
