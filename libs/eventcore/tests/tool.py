"""Running the operator's tool, in this process or as a program, on streams filled by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from eventcore import Settings
from eventcore.cli import app
from eventcore.testing import Server

GROUP = "inventory-group"
STREAM = "orders_stream"
# Far more than a second, so that a slow machine does no harm; tests wait for what happens, not for a time.
SECONDS = 30
# The environment's own settings must not reach into the tests.
NO_SETTINGS: Mapping[str, str | None] = dict.fromkeys(
    (*(name.upper() for name in Settings.model_fields), "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "NO_COLOR")
)


@dataclass(frozen=True)
class Result:
    """How a run of the tool has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


def run(
    server: Server | None, *arguments: str, status: int = 0, stdin: str | None = None, env: Mapping[str, str] = {}
) -> Result:
    """Run the tool in this process, and check how it ends."""
    url = {"REDIS_URL": server.url} if server else {}
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr("eventcore.cli.status._GLANCE_SECONDS", 0.01)
        result = CliRunner().invoke(app, arguments, input=stdin, env={**NO_SETTINGS, **url, **env})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    return Result(result.exit_code, result.stdout, result.stderr)


def environment(server: Server | None, **env: str) -> dict[str, str]:
    """The environment of a process of its own; every warning is an error there, too."""
    inherited = {name: value for name, value in os.environ.items() if name not in (*NO_SETTINGS, "PYTHONUNBUFFERED")}
    url = {"REDIS_URL": server.url} if server else {}
    return {**inherited, **url, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", **env}


def run_program(server: Server | None, *arguments: str, **env: str) -> Result:
    """Run the tool as a program."""
    command = [sys.executable, "-m", "eventcore", *arguments]
    done = subprocess.run(
        command, env=environment(server, **env), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def redirected(server: Server, how: str, *arguments: str) -> Result:
    """Run the tool as a program by a shell that leads its streams elsewhere."""
    command = ["/bin/sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "eventcore", *arguments]
    done = subprocess.run(
        command, env=environment(server), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def popen(server: Server, *arguments: str) -> subprocess.Popen[str]:
    """The tool as a program that runs beside us."""
    command = [sys.executable, "-m", "eventcore", *arguments]
    return subprocess.Popen(command, env=environment(server), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@contextmanager
def program(server: Server, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the tool beside the block; Ctrl-C ends it there if nothing else has, and that is no failure."""
    with popen(server, *arguments) as running:
        try:
            yield running
            running.send_signal(signal.SIGINT)
            assert running.wait(SECONDS) == 0
        finally:
            running.kill()


@contextmanager
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of our own, beside the tool."""
    with redis.Redis.from_url(server.url) as connected:
        yield connected


def append(
    connected: redis.Redis, stream: str = STREAM, entry_id: str = "*", *, type: str = "order.created", **data: object
) -> tuple[str, dict[str, Any]]:
    """An event in a stream; names that begin with `meta_` say what its metadata shall be. Its entry id and envelope."""
    metadata = {name.removeprefix("meta_"): data.pop(name) for name in list(data) if name.startswith("meta_")}
    about = {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00.000Z", "version": "1.0", **metadata}
    event = {"type": type, "data": data, "metadata": about}
    added: Any = connected.xadd(stream, {"event": json.dumps(event)}, id=entry_id)
    return added.decode(), event


def append_letter(connected: redis.Redis, entry_id: str = "*", key: str = "orders_dlq", /, **facts: str) -> str:
    """A dead letter as a consumer writes it, with other facts where given. Its id."""
    metadata = {"eventId": "e-1", "timestamp": "2026-11-23T10:00:00Z"}
    event = {"type": "order.created", "data": {"orderId": "o-1"}, "metadata": metadata}
    letter: dict[Any, Any] = {
        "event": json.dumps(event),
        "reason": "attempts_exhausted",
        "errorType": "ValueError",
        "error": "no such product",
        "traceback": 'Traceback (most recent call last):\n  File "x.py", line 3, in reserve\nValueError: no such thing',
        "attempts": "5",
        "firstSeen": "2026-11-23T10:00:00.000Z",
        "failedAt": "2026-11-23T10:00:31.000Z",
        "stream": STREAM,
        "entryId": "1-0",
        "group": GROUP,
        "consumer": "pod-1",
        "type": "order.created",
        "eventId": "e-1",
        "correlationId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "traceparent": "",
        **facts,
    }
    added: Any = connected.xadd(key, {name: value for name, value in letter.items() if value}, id=entry_id)
    return bytes(added).decode()


def fill(connected: redis.Redis) -> None:
    """Something of everything that there can be."""
    append(connected, meta_correlationId="4bf92f3577b34da6a3ce929d0e0e4736", orderId="order-1")
    append(connected, orderId="order-2")
    for stream in (STREAM, f"{STREAM}:{GROUP}:retry"):
        connected.xgroup_create(stream, GROUP, "0", mkstream=True)
        connected.zadd(f"{stream}:{GROUP}:beats", {"pod-1": 1, "pod-2": 0})
    connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, count=1)
    append_letter(connected)
    connected.expire("orders_dlq", 1000)


def everything(server: Server) -> dict[bytes, tuple[object, ...]]:
    """All that a server holds, times to live and the innermost of streams included."""
    with client(server) as connected:
        found: dict[bytes, tuple[object, ...]] = {}
        for key in connected.scan_iter():
            inside = connected.xinfo_stream(key, full=True) if connected.type(key) == b"stream" else None
            found[key] = (connected.dump(key), connected.pexpiretime(key), repr(inside))
        return found


def one_line(text: str) -> str:
    """What was said, which must be one line and no traceback."""
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text.strip()
