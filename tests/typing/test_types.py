"""What users write here is right to both type checkers, and what they get wrong (`refused.py`) is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".mypy_cache/users"
REFUSED = (HERE / "refused.py").read_text()

Errors = Mapping[tuple[str, int], set[str]]


def by_mypy() -> Errors:
    """The codes of mypy's errors, by file and line; its plugin for pydantic is ours alone, and users may have none."""
    output = run("mypy", "--config-file=", "--strict", "--output=json", f"--cache-dir={CACHE}")
    found = [json.loads(line) for line in output.splitlines()]
    return grouped([(each["file"], each["line"], each["code"]) for each in found if each["severity"] == "error"])


def by_pyright() -> Errors:
    """The rules of pyright's errors, in the same way."""
    found = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable))["generalDiagnostics"]
    return grouped([(each["file"], each["range"]["start"]["line"] + 1, each["rule"]) for each in found])


def run(checker: str, *options: str) -> str:
    """What a type checker says of all these files."""
    files = sorted(path.name for path in HERE.glob("*.py") if path != Path(__file__))
    command = [sys.executable, "-m", checker, *options, *files]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def grouped(errors: list[tuple[str, int, str]]) -> Errors:
    found: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for file, line, code in errors:
        found[Path(file).name, line].add(code)
    return found


@pytest.mark.timeout(300)  # as long as it takes to read all that we import, for the first time
@pytest.mark.parametrize(("check", "column"), [(by_mypy, 1), (by_pyright, 2)])
def test_what_users_write_is_right_and_what_they_get_wrong_is_found(check: Callable[[], Errors], column: int) -> None:
    lines = enumerate(REFUSED.splitlines(), start=1)
    marked = [(line, found) for line, text in lines if (found := re.search(r"# error: (\S+) \| (\S+)$", text))]
    expected = {("refused.py", line): found[column] for line, found in marked if found[column] != "-"}
    errors = check()
    assert errors.keys() == expected.keys()
    assert {place: code for place, code in expected.items() if code not in errors[place]} == {}
