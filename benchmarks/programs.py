"""Programs that serve: started, waited for, looked at from outside, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from demo.ports import free_port

from .running import WrongCount, on_core

PATIENCE = 60.0
SERVICES = ("order_service", "inventory_service", "notification_service")


@dataclass(frozen=True, slots=True)
class Program:
    """A command line; `port` is where it serves HTTP, if it does."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0


def service(module: str, url: str, *, python: str = sys.executable, **more: str) -> Program:
    """One of the shop's services, as in production."""
    port = free_port()
    said = {"REDIS_URL": url, "HOST": "127.0.0.1", "PORT": str(port), **more}
    return Program([python, "-m", module], said, port)


@contextmanager
def running(programs: Sequence[Program], *, core: int | None = None) -> Iterator[list[int]]:
    """Run programs, on one core or anywhere, until they are ready and through the block; their process ids."""
    with tempfile.TemporaryFile() as log:
        with nullcontext() if core is None else on_core(core):
            processes = [
                subprocess.Popen(each.command, env={**os.environ, **each.environment}, stdout=log, stderr=log)
                for each in programs
            ]
        try:
            for program, process in zip(programs, processes, strict=True):
                if not _ready(program, process):
                    log.seek(0)
                    raise WrongCount(f"{program.command} did not become ready: {log.read()[-500:].decode()}")
            yield [process.pid for process in processes]
        finally:
            _stop(processes)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _ready(program: Program, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it is; false when it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while program.port:
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/readyz", timeout=5):
                return True
        except OSError:
            time.sleep(0.01)
    return True


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used; 0 where the system has no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, what: str = "VmRSS") -> float:
    """Megabytes that a process holds, or has held at most (`VmHWM`); 0 where the system has no /proc."""
    status = Path(f"/proc/{pid}/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    return 0.0
