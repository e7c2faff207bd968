"""Deletes or changes one line of the chart at a time, and some test must fail each time. Prints the kill rate."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import inspect
import itertools
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy/helm/ecommerce"
GOAL = 0.9

# Called directly, those that kill most first; and those that need pytest, for what is left.
DIRECT = (
    "test_manifests",
    "test_chart_pods",
    "test_chart_redis",
    "test_chart_network",
    "test_chart_scaling",
    "test_chart_routes",
    "test_chart_notes",
    "test_names_from_the_code",
    "test_chart_objects",
    "test_chart_values",
)
PYTEST = ("test_chart_on_a_cluster", "test_scripts_in_the_chart")
CHANGES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\beq\b", "ne"),
    (r"\bne\b", "eq"),
    (r"\bgt\b", "lt"),
    (r"\blt\b", "gt"),
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"\bif not\b", "if"),
    (r"\bif (?=[.$(])", "if not "),
    (r"(?<!indent )\b(\d+)\b", lambda match: str(int(match[1]) + 1)),
    (r"\b[A-Z][A-Za-z]{4,}\b", "Changed"),
    (r"(?<=: )[a-z][\w-]+$", "changed"),
]


@dataclass(frozen=True)
class Mutant:
    """One line made another, or gone."""

    path: Path
    line: int
    old: str
    new: str | None

    def __str__(self) -> str:
        new = "deleted" if self.new is None else f"→ {self.new.strip()}"
        return f"{self.path.relative_to(CHART)}:{self.line + 1}: {self.old.strip()}  {new}"


def mutants() -> Iterator[Mutant]:
    """All of them: a deletion and, where a rule fits, a change of each line that says something."""
    files = [*sorted((CHART / "templates").rglob("*.*")), CHART / "files/alerts.yaml"]
    for path in files:
        comment = False
        for number, line in enumerate(path.read_text().splitlines()):
            comment = comment or "{{/*" in line or "{{- /*" in line
            says = line.strip() and not line.strip().startswith("#") and not comment
            if "*/" in line:
                comment = False
            if says:
                yield Mutant(path, number, line, None)
                yield from _changed(path, number, line)


def _changed(path: Path, number: int, line: str) -> Iterator[Mutant]:
    for pattern, replacement in CHANGES:
        new, count = re.subn(pattern, replacement, line, count=1)
        if count and new != line:
            yield Mutant(path, number, line, new)
            return


@contextlib.contextmanager
def applied(mutant: Mutant) -> Iterator[Path]:
    """A copy of the chart with the mutant in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ecommerce"
        shutil.copytree(CHART, copy)
        target = copy / mutant.path.relative_to(CHART)
        lines = target.read_text().splitlines()
        lines[mutant.line : mutant.line + 1] = [] if mutant.new is None else [mutant.new]
        target.write_text("\n".join(lines) + "\n")
        yield copy


def killed(mutant: Mutant) -> str:
    """The test that fails on the chart with this mutant, or nothing."""
    with applied(mutant) as chart:
        return failing(chart, mutant.path)


# What has killed mutants of a file is likely to kill the next: it is asked first.
_KILLERS: dict[Path, list[tuple[str, Callable[[], None]]]] = {}


def failing(chart: Path, changed: Path) -> str:
    """The first test that fails on a chart, of which one file has been changed."""
    from scripts import manifests
    from tests.deploy import rendering

    manifests.CHART = rendering.CHART = chart
    rendering._rendered.cache_clear()
    known = _KILLERS.setdefault(changed, [])
    every = (call for module in DIRECT for call in _calls(module))
    for name, test in itertools.chain(tuple(known), every):
        try:
            test()
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever a test raises is its verdict
            known[:] = [(name, test), *(each for each in known if each[0] != name)]
            return name
    options = ["-x", "-q", *(f"-pno:{plugin}" for plugin in ("randomly", "cacheprovider", "xdist"))]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/deploy/{module}.py" for module in PYTEST)]
    environment = os.environ | {"CHART_UNDER_TEST": str(chart)}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    return "pytest" if done.returncode else ""


def _calls(module: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The tests of a module that need no fixtures, once for each set of their parameters."""
    for name, test in vars(importlib.import_module(f"tests.deploy.{module}")).items():
        if name.startswith("test_") and name not in SKIPPED:
            sets: list[dict[str, Any]] = [{}]
            for mark in getattr(test, "pytestmark", []):
                if mark.name == "parametrize":
                    names = mark.args[0] if isinstance(mark.args[0], tuple) else (mark.args[0],)
                    rows = [row if len(names) > 1 else (row,) for row in mark.args[1]]
                    sets = [one | dict(zip(names, row, strict=True)) for one in sets for row in rows]
            for arguments in sets:
                if set(arguments) == set(inspect.signature(test).parameters):
                    yield f"{module}.{name}", functools.partial(test, **arguments)


# They read the committed files, so that no template matters to them.
SKIPPED = {"test_kubernetes_takes_every_overlay", "test_there_are_no_other_files", "test_the_base_is_the_chart"}


def main() -> int:
    """Try all mutants, or every n-th, and name the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try every n-th mutant only")
    parser.add_argument("--only", default="", help="mutants of files whose path holds this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = [each for each in mutants() if options.only in str(each.path)][:: options.every]
    if found := failing(CHART, CHART):
        print(f"the chart itself fails {found}: make test", file=sys.stderr)
        return 2
    print(f"{len(chosen)} mutants; the chart itself passes", flush=True)
    dead = tried = 0
    # Processes of their own: Helm's library must not be forked.
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        for mutant, test in zip(chosen, pool.map(killed, chosen), strict=True):
            dead += bool(test)
            tried += 1
            if tried % 20 == 0:
                print(f"… {dead} of {tried}", flush=True)
            if not test:
                print(f"survived: {mutant}", flush=True)
    rate = dead / len(chosen)
    print(f"{dead} of {len(chosen)} mutants killed: {rate:.1%}")
    return 0 if rate >= GOAL else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
