"""Something amiss is said, ends in failure, and leaves the logs for a look."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from demo import run as module
from demo.checks import Check, check_all
from demo.evidence import Evidence
from demo.options import Options
from demo.ports import choose_ports
from demo.run import Verdict, run
from demo.sources import workload

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(180)]


async def test_a_check_that_does_not_hold_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_fault(evidence: Evidence) -> list[Check]:
        return [*check_all(evidence), Check("the sun shines", "it rains", tuple(f"drop {n}" for n in range(9)))]

    monkeypatch.setattr(module, "check_all", with_a_fault)
    options = Options(count=3)
    console = Console(file=io.StringIO(), width=100)

    assert await run(options, choose_ports(options), workload(options), console, lambda act: None) is Verdict.OFF

    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "✗ the sun shines: drop 0" in said
    assert "… and 4 more" in said
    assert "Something is off" in said
    directory = Path(said.split("Logs and data are kept in ")[1].strip())
    assert (directory / "order-service.log").exists()
    shutil.rmtree(directory)
