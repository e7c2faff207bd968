"""The images: their Dockerfiles, and the containers where an engine is at hand.

Containers run where an engine answers and the base image can be had. IMAGES=present takes images that are there
already, else they are built; IMAGE_PREFIX, IMAGE_TAG and PYTHON_IMAGE say which, as for `make images`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from demo.ports import free_port
from eventcore.testing import Server
from scripts.chart_reference import SERVICES
from tests.deploy.rendering import CHART, ROOT

PORTS = {"order": 8001, "inventory": 8002, "notification": 8003}
DOCKERFILES = {name: (ROOT / "services" / name / "Dockerfile").read_text() for name in SERVICES}
BUDGET = 120 * 1024 * 1024


def general(name: str) -> str:
    text = re.sub(r'image\.description=".*"', "", DOCKERFILES[name])
    return text.replace(name, "SERVICE").replace(str(PORTS[name]), "PORT")


def test_the_dockerfiles_differ_in_the_service_alone() -> None:
    assert general("order") == general("inventory") == general("notification")


@pytest.mark.parametrize("name", SERVICES)
def test_a_dockerfile_keeps_the_rules(name: str) -> None:
    text = DOCKERFILES[name]
    build, final = text.split("\nFROM ${PYTHON_IMAGE}\n")
    assert re.match(r"#.*\nARG PYTHON_IMAGE=docker\.io/library/python:[\w.-]+@sha256:[0-9a-f]{64}\n", build)
    assert "FROM ${PYTHON_IMAGE} AS build" in build
    assert build.count("--require-hashes") == 2
    assert "RUN" not in final, "nothing is installed there"
    assert "\nUSER 10001:10001\n" in final
    assert f'\nENTRYPOINT ["python", "-m", "{name}_service"]\n' in final, "as a list, so that SIGTERM arrives"
    assert f"\nEXPOSE {PORTS[name]}\n" in final
    described = re.search(r'description = "(.*)"', (ROOT / "services" / name / "pyproject.toml").read_text())
    assert described
    assert f'org.opencontainers.image.description="{described[1]}"' in final


def test_hadolint_is_content() -> None:
    files = [ROOT / "services" / name / "Dockerfile" for name in SERVICES]
    command: list[str | Path] = [ROOT / ".venv/bin/hadolint", "--config", ROOT / ".hadolint.yaml", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_images_names_images_as_the_chart_does() -> None:
    script = (ROOT / "scripts/images").read_text()
    assert "prefix=${IMAGE_PREFIX:-localhost/ecommerce}" in script
    assert "prefix: localhost/ecommerce\n" in (CHART / "values.yaml").read_text()


# Containers


@cache
def engine() -> str:
    for name in (os.environ.get("CONTAINER_ENGINE", ""), "docker", "podman"):
        if name and shutil.which(name) and answers(name):
            return name
    return ""


def answers(name: str) -> bool:
    """Whether the engine is there for us: one that hangs shall not hold up everything else."""
    try:
        return subprocess.run([name, "info"], capture_output=True, check=False, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@cache
def why_not() -> str:
    if not engine():
        return "neither Docker nor Podman answers here"
    default = re.search(r"^ARG PYTHON_IMAGE=(\S+)", DOCKERFILES["order"], re.MULTILINE)
    assert default
    base = os.environ.get("PYTHON_IMAGE", default[1])
    there = ([engine(), "image", "inspect", base], [engine(), "pull", "--quiet", base])
    if present() or any(not subprocess.run(each, capture_output=True, check=False).returncode for each in there):
        return ""
    return f"the base image {base} can't be had here: name another in PYTHON_IMAGE"


def present() -> bool:
    """Whether to take images that are there already, rather than build them."""
    return os.environ.get("IMAGES") == "present"


def with_containers(test: Callable[..., None]) -> Callable[..., None]:
    """All such tests run in one process, one after the other; the first may have to build."""
    for mark in (pytest.mark.xdist_group("containers"), pytest.mark.timeout(1800)):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def _an_engine() -> None:
    if reason := why_not():
        pytest.skip(reason)


def run(*arguments: str) -> str:
    done = subprocess.run([engine(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def images(_an_engine: None) -> dict[str, str]:
    if not present():
        subprocess.run([ROOT / "scripts/images"], check=True)
    version = re.search(r"^appVersion: (\S+)", (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert version
    tag = os.environ.get("IMAGE_TAG") or version[1]
    return {name: f"{os.environ.get('IMAGE_PREFIX', 'localhost/ecommerce')}/{name}:{tag}" for name in SERVICES}


@contextmanager
def started(image: str, *options: str) -> Iterator[str]:
    confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    name = run("run", "--detach", *confined, *options, image)
    try:
        yield name
    finally:
        run("rm", "--force", "--volumes", name)


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def wait_for(port: int, path: str, expected: int, seconds: float = 60) -> float:
    began = time.monotonic()
    while (found := status(port, path)) != expected:
        assert time.monotonic() - began < seconds, f"{path} says {found}"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with Server() as server:
        yield server.url


@with_containers
@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_small_labelled_and_has_no_compiler(images: dict[str, str], name: str) -> None:
    image = images[name]
    added = int(run("run", "--rm", "--entrypoint", "python", image, "-c", BYTES_ADDED))
    print(f"{name}: {added / 1e6:.0f} MB beyond the base")
    assert added < BUDGET
    labels = run("inspect", "--format", "{{json .Config.Labels}}", image)
    for label in ("title", "description", "licenses", "version"):
        assert f'"org.opencontainers.image.{label}"' in labels
    assert run("inspect", "--format", "{{.Config.User}}", image) == "10001:10001"
    found = run(
        "run",
        "--rm",
        "--entrypoint",
        "sh",
        image,
        "-c",
        "command -v gcc cc make ld || ls /opt/venv/bin/pip* || echo none",
    )
    assert found == "none"


@with_containers
@pytest.mark.parametrize("user", ["10001:10001", "54321:0"])
@pytest.mark.parametrize("name", SERVICES)
def test_a_container_starts_as_any_user_on_a_read_only_root_and_ends_on_sigterm(
    images: dict[str, str], redis: str, name: str, user: str
) -> None:
    port = free_port()
    options = ["--network", "host", "--user", user, "--env", f"REDIS_URL={redis}", "--env", f"PORT={port}"]
    with started(images[name], *options, "--env", "EVICTION_POLICY=warn") as container:
        wait_for(port, "/livez", 200)
        wait_for(port, "/readyz", 200)
        assert status(port, "/metrics") == 200
        assert "order-group" in run("exec", container, "eventcore", "status") or name != "order"
        began = time.monotonic()
        run("stop", "--time", "30", container)
        assert run("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
        assert time.monotonic() - began < 25, "within its drain budget, not killed after it"


@with_containers
@pytest.mark.parametrize("name", SERVICES)
def test_a_container_needs_less_than_two_seconds_of_a_processor_to_answer(
    images: dict[str, str], redis: str, name: str
) -> None:
    port = free_port()
    with started(
        images[name], "--network", "host", "--env", f"REDIS_URL={redis}", "--env", f"PORT={port}"
    ) as container:
        elapsed = wait_for(port, "/livez", 200, 60)
        used = float(run("exec", container, "python", "-c", PROCESSOR_SECONDS))
    print(f"{name}: /livez after {elapsed:.2f} s, of which {used:.2f} s on a processor")
    assert used < 2


# All that the final stage copies.
BYTES_ADDED = """
import os
found = [os.lstat(os.path.join(at, name)) for at, _, names in os.walk("/opt/venv") for name in names]
print(sum(each.st_blocks * 512 for each in found))
"""

# Time passes faster on a busy machine; the processor's doesn't.
PROCESSOR_SECONDS = """
import os
fields = open("/proc/1/stat").read().rpartition(")")[2].split()
print((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
"""
