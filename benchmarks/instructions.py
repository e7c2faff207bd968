"""How many instructions a piece of work takes: the same on a busy machine as on a quiet one.

`python -m benchmarks.instructions` needs valgrind, and some minutes. The kernel's are not counted, and not all take
equally long: what this tells is whether a change made something cheaper, not how fast anything is.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvloop
from redis import Redis
from rich.console import Console
from rich.table import Table

from eventcore.testing import server
from eventcore.testing.server import Server

from . import posting, programs, running, works
from .contestants import CONTESTANTS
from .running import WrongCount

# A program is counted with few events and with many: the difference leaves out how it begins and ends.
FEW, MANY = 1_000, 4_000
RESTING_SECONDS = 10


class Counter:
    """Counts what one program executes in user mode, from `start` until `stop`, or its end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._prefix = folder, f"--vgdb-prefix={folder / 'vgdb'}"

    def around(self, command: Sequence[str]) -> list[str]:
        """The command line under which a program can be counted."""
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", self._prefix]
        return [*valgrind, f"--callgrind-out-file={self._folder / 'counted'}", *command]

    def start(self, pid: int) -> None:
        """Count from now on."""
        self._control(pid, "--instr=on")

    def stop(self, pid: int) -> None:
        """Count no more, and keep what was counted, however the program ends."""
        self._control(pid, "--dump")
        self._control(pid, "--instr=off")

    def _control(self, pid: int, what: str) -> None:
        subprocess.run(["callgrind_control", self._prefix, what, str(pid)], check=True, capture_output=True, timeout=60)

    def total(self) -> int:
        """The instructions, once the program has ended."""
        told = "".join(each.read_text() for each in self._folder.glob("counted*"))
        return sum(map(int, re.findall(r"^totals: (\d+)", told, re.MULTILINE)))


@contextmanager
def counter() -> Iterator[Counter]:
    """One for one program, and an environment in which it can be counted."""
    before = dict(os.environ)
    os.environ["PYTHONHASHSEED"] = "0"  # else dictionaries cost something else in every run
    os.environ.pop("HOST", None)  # valgrind calls its pipes by it
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Counter(Path(folder))
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to be counted: `count` gives the instructions for so many events."""

    work: str
    who: str
    count: Callable[[int], int]

    def instructions(self) -> float:
        """For one event."""
        return (self.count(MANY) - self.count(FEW)) / (MANY - FEW)


def subjects() -> Iterator[Subject]:
    """All, those that are compared with each other together, ours first."""
    for work in works.CONSUMING:
        for who in ("eventcore", "redis-py by hand, our codec"):
            yield Subject(work, who, partial(_of_client, who, work))
    for each in (*posting.CONTESTANTS[:2], *posting.GUARDED):
        yield Subject(posting.WORK, each.name, partial(_of_service, each))
    for who in ("eventcore", "redis-py by hand, guards read", "redis-py by hand"):
        yield Subject(f"Redis: {works.RESERVE}", who, partial(_of_server, who, works.RESERVE))


def _of_client(who: str, work: str, count: int) -> int:
    with counter() as counted, Server() as redis:
        _run(who, work, count, redis.url, around=counted.around, ready=counted.start)
        return counted.total()


def _of_server(who: str, work: str, count: int) -> int:
    with counter() as counted:
        with _counted_server(counted) as redis:
            _run(who, work, count, redis.url, ready=lambda pid: counted.start(redis.pid))
        return counted.total()


def _of_service(who: posting.Contestant, count: int) -> int:
    """Without what a service does once a second all by itself: valgrind slows it fifty times, not the clock."""
    working = 0.0

    def work(port: int) -> None:
        nonlocal working
        began = time.perf_counter()
        uvloop.run(posting.drive(port, count, who.header()))
        working = time.perf_counter() - began

    total = _counted(who, work)
    return int(total - working * _counted(who, lambda port: time.sleep(RESTING_SECONDS)) / RESTING_SECONDS)


def _counted(who: posting.Contestant, work: Callable[[int], None]) -> int:
    """What a warm service executes during the work, which is given the port."""
    with counter() as counted, Server() as redis:
        program = who.program(redis.url)
        environment = {name: value for name, value in program.environment.items() if name != "HOST"}
        program = replace(program, command=counted.around(program.command), environment=environment)
        with programs.running([program]) as [pid]:
            uvloop.run(posting.drive(program.port, FEW, who.header()))
            counted.start(pid)
            work(program.port)
            counted.stop(pid)
        return counted.total()


@contextmanager
def _counted_server(counted: Counter) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "server"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(counted.around([str(server.executable("valkey"))]))} "$@"\n')
        script.chmod(0o700)
        os.environ[server.BINARY] = str(script)
        with Server(kind="other").start(timeout=60) as redis:
            yield redis


def _run(
    who: str,
    work: str,
    count: int,
    url: str,
    *,
    ready: Callable[[int], object],
    around: Callable[[Sequence[str]], list[str]] = list,
) -> None:
    """Let a contestant do its work, and see that it did; `ready` is called with its process id just before."""
    [contestant] = [each for each in CONTESTANTS if each.name == who]
    with Redis.from_url(url, protocol=2) as redis:
        running.prepare(redis, contestant, work, count)
        command = around(contestant.command(work, url, count))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise WrongCount(f"{command} did not become ready")
            ready(process.pid)
            process.communicate("go\n")
        running.verify(redis, contestant, work, count)


def main() -> None:
    """Count, and print."""
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    title = "Instructions for one event, in user mode; ratio: the first's by this one's"
    table = Table("work", "who", "instructions", "ratio", title=title)
    first: dict[str, float] = {}
    console = Console(width=None if sys.stdout.isatty() else 140)
    for each in subjects():
        with console.status(f"{each.work}: {each.who}"):
            counted = each.instructions()
        ratio = first.setdefault(each.work, counted) / counted
        table.add_row(each.work, each.who, f"{counted:,.0f}", f"{ratio:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
