"""Node and what `package.json` asks for; where either is not to be had, tests are skipped and say why."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

# One worker installs packages, and a cold npm takes its time.
MARKS = [pytest.mark.xdist_group("node"), pytest.mark.timeout(300)]

HERE = Path(__file__).parent
INSTALLED = HERE / "node_modules/.package-lock.json"
# npm's words for a registry that can't be reached, or refuses.
UNREACHABLE = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT|E40[37]|E5\d\d)\b"
)


def install() -> None:
    """Have Node's packages as they are locked, or skip the test."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    major = int(run("node", "--version").stdout.removeprefix("v").partition(".")[0])
    if major < 20:
        pytest.skip(f"node is version {major}, and 20 is the least")
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    done = run("npm", "ci", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=20000")
    if found := UNREACHABLE.search(done.stderr):
        pytest.skip(f"the npm registry can't be reached: {found[0]}")
    assert done.returncode == 0, done.stderr


def build() -> None:
    """Check the types of the programs, and compile them."""
    done = run("node", "node_modules/typescript/bin/tsc")
    assert done.returncode == 0, done.stdout


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command in this folder, to its end."""
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
