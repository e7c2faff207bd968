"""Running one scenario: the system is started, disturbed, judged and stopped; whatever goes wrong ends in its row."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .artefacts import keep
from .asking import NoAnswer
from .catalogue import Scenario
from .driver import Broken, Driver, NotHere
from .ledger import Verdict
from .recovery import slowest_by_limit
from .report import Row
from .shop import UnexpectedAnswer
from .stage import Stage
from .streams import RedisProblem

_NOTHING = Verdict(0, 0, 0, 0, ())


async def run(
    driver: Driver,
    scenario: Scenario,
    artefacts: Path,
    *,
    rate: float | None = None,
    orders: int | None = None,
    seed: int = 1,
) -> Row:
    """Play a scenario on a system of its own layout. Artefacts are kept, in a folder of its name, only if it fails."""
    began = time.monotonic()
    stage = Stage(driver, rate=rate, orders=orders, seed=seed)
    problems: list[str] = []
    verdict, skipped = _NOTHING, None
    try:
        try:
            with _noted(problems):
                await driver.start(scenario.layout)
                await scenario.play(stage)
        except NotHere as reason:
            skipped = str(reason)
        if stage.load.placed:
            with _noted(problems):
                verdict = await stage.judge()
        problems += [*verdict.problems, *_too_slow(scenario, stage)]
        stage.notes += slowest_by_limit(stage.recoveries)
        if problems:
            await keep(driver, stage, problems, artefacts / scenario.name)
    finally:
        unclean = await driver.stop()
    if unclean and not problems:
        await driver.keep_artefacts(artefacts / scenario.name)
    problems += unclean
    return Row(
        scenario=scenario.name,
        title=scenario.title,
        driver=driver.kind,
        accepted=verdict.accepted,
        final=verdict.final,
        lost=verdict.lost,
        doubled=verdict.doubled,
        redelivered=stage.counters.total("redelivered"),
        fenced=stage.counters.total("fenced"),
        failed_requests=len(stage.load.failures),
        recoveries={each.what: round(each.seconds, 3) for each in stage.recoveries},
        slowest_order=round(stage.slowest_order, 3),
        seconds=round(time.monotonic() - began, 3),
        notes=tuple(stage.notes),
        problems=tuple(problems),
        skipped=skipped,
    )


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """What a run may come to is noted; defects of the suite itself go through."""
    try:
        yield
    except (AssertionError, Broken, NoAnswer, RedisProblem, UnexpectedAnswer) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        problems.append(str(error) or f"not so: {frame.line} ({Path(frame.filename).name}:{frame.lineno})")


def _too_slow(scenario: Scenario, stage: Stage) -> Iterator[str]:
    """What took longer than promised. The promises are for a core that has time for us, so waiting for one counts."""
    detour = scenario.detour if stage.driver.kind == "kind" else 0.0
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    for what, seconds, within, _ in stage.recoveries:
        promised = scenario.recovers_within if within is None else within
        if promised is None:
            continue
        limit = promised + detour
        if seconds > limit * busy:
            yield f"{what}: recovery took {seconds:.1f} s, more than {limit:g} s"
        elif seconds > limit:
            stage.notes.append(f"{what}: took longer than {limit:g} s with {busy:.1f} processes to a core")
