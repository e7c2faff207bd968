"""The operator's tool connects like the services, says in one line what is wrong, and ends with 0, 1 or 2."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from eventcore import Settings
from eventcore.cli import app
from eventcore.cli.output import clean
from eventcore.testing import Kind, Server, ServerError, TlsFiles, available_kinds
from eventcore.testing.fixtures import StartServer

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
    result = CliRunner().invoke(app, arguments, input=stdin, env={**NO_SETTINGS, **url, **env})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    return Result(result.exit_code, result.stdout, result.stderr)


def environment(server: Server | None, **env: str) -> dict[str, str]:
    """The environment of a process of its own; every warning is an error there, too."""
    inherited = {name: value for name, value in os.environ.items() if name not in NO_SETTINGS}
    url = {"REDIS_URL": server.url} if server else {}
    return {**inherited, **url, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", **env}


def run_program(server: Server | None, *arguments: str, **env: str) -> Result:
    """Run the tool as a program."""
    command = [sys.executable, "-m", "eventcore", *arguments]
    done = subprocess.run(
        command, env=environment(server, **env), capture_output=True, text=True, timeout=SECONDS, check=False
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


@pytest.fixture
def any_server(running_servers: Callable[[Kind], Server]) -> Server:
    """A server of one kind, empty: for what does not depend on the kind, and takes a process."""
    server = running_servers(available_kinds()[0])
    with client(server) as connected:
        connected.flushall()
    return server


# Connecting


def test_redis_out_of_reach_is_one_line_and_status_1() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        for command in (
            ["status"],
            ["tail", "s"],
            ["dlq", "list", "s"],
            ["publish", "s", "a.b", "{}"],
            ["trace", "abcdef"],
        ):
            result = run_program(None, *command, REDIS_URL=f"redis://{address}")
            assert (result.status, result.stdout) == (1, "")
            assert one_line(result.stderr) == f"eventcore: Redis at {address} is out of reach: Connection refused"


def test_a_wrong_password_is_one_line_and_status_1(start_server: StartServer) -> None:
    server = start_server(password="right")
    wrong = run(server, "status", env={"REDIS_PASSWORD": "wrong"}, status=1)
    assert (
        one_line(wrong.stderr) == f"eventcore: Redis at 127.0.0.1:{server.port} does not accept this user or password"
    )
    missing = run(None, "status", env={"REDIS_URL": f"redis://127.0.0.1:{server.port}"}, status=1)
    assert "asks for a password: set REDIS_PASSWORD" in one_line(missing.stderr)


def test_the_password_comes_from_a_file_as_for_the_services(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(password="right")
    (tmp_path / "password").write_text("right\n")
    address = {"REDIS_URL": f"redis://127.0.0.1:{server.port}", "REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    assert run(None, "status", "--json", env=address).json["streams"] == []


def test_a_url_on_the_command_line_stands_for_the_whole_connection(start_server: StartServer) -> None:
    server = start_server(password="right")
    elsewhere = {"REDIS_URL": "redis://nowhere.invalid", "REDIS_PASSWORD": "wrong"}
    sentinel = {"REDIS_SENTINELS": "nowhere.invalid:1", "REDIS_SENTINEL_MASTER": "m"}
    run(None, "status", "--redis-url", server.url, env={**elsewhere, **sentinel})
    run(None, "--redis-url", server.url, "status", env=elsewhere)
    bare = f"redis://127.0.0.1:{server.port}"
    run(None, "status", "--redis-url", bare, env={"REDIS_PASSWORD": "right"})
    run(None, "status", "--redis-url", bare, env={"REDIS_PASSWORD": "wrong"}, status=1)


def test_a_prefix_on_the_command_line_wins(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, "a:orders_stream")
        append(connected, "b:bills_stream")

    def streams(*arguments: str) -> list[str]:
        document = run(redis_server, *arguments, env={"KEY_PREFIX": "a:"}).json
        return [each["stream"] for each in document["streams"]]

    assert streams("status", "--json") == ["orders_stream"]
    assert streams("status", "--json", "--prefix", "b:") == ["bills_stream"]
    assert streams("--prefix", "b:", "status", "--json") == ["bills_stream"]
    assert streams("status", "--json", "--prefix", "") == ["a:orders_stream", "b:bills_stream"]


def test_a_stream_may_be_named_with_its_prefix(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, "{shop}:orders_stream", "1-0")
        append_letter(connected, "2-0", "{shop}:orders_dlq")
    shop = {"KEY_PREFIX": "{shop}:"}
    for name in ("orders_stream", "{shop}:orders_stream"):
        assert run(redis_server, "tail", name, "--json", env=shop).json["stream"] == "orders_stream"
    for name in ("orders_stream", "orders_dlq", "{shop}:orders_dlq"):
        [letter] = run(redis_server, "dlq", "list", name, "--json", env=shop).json["letters"]
        assert letter["id"] == "2-0"


def test_a_wrong_setting_is_wrong_usage(any_server: Server) -> None:
    result = run_program(any_server, "status", REDIS_SENTINELS="nonsense")
    assert result.status == 2
    assert "REDIS_SENTINELS" in one_line(result.stderr)
    assert "REDIS_URL" in one_line(run(None, "status", "--redis-url", "http://x", status=2).stderr)
    assert "REDIS_URL" in one_line(run(None, "status", "--redis-url", "redis://[", status=2).stderr)


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["status", "--bogus"], ["tail"], ["dlq", "bogus"], ["tail", "s", "-n", "-1"]]
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert "Usage:" in run(None, *arguments, status=2).stderr


def test_the_program_has_help_for_every_command() -> None:
    for command in ([], ["status"], ["tail"], ["trace"], ["publish"], ["dlq"], ["dlq", "redrive"], ["dlq", "purge"]):
        assert "Usage: eventcore" in run(None, *command, "--help").stdout.replace("root", "eventcore")
    helped = run_program(None, "dlq", "redrive", "-h")
    assert helped.status == 0
    assert "Usage: eventcore dlq redrive" in helped.stdout


def test_a_server_that_does_not_answer_is_one_line(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.connection.reply_seconds", 0.2)
    monkeypatch.setattr("eventcore.connection.connect_seconds", 0.2)
    server = start_server()
    server.pause()
    try:
        assert "does not answer" in one_line(run(server, "status", status=1).stderr)
        publishing = one_line(run(server, "publish", STREAM, "a.b", "{}", status=1).stderr)
        assert "does not answer" in publishing
    finally:
        server.resume()


def test_a_defect_is_one_line_as_well(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("of our own")

    monkeypatch.setattr("eventcore.cli.status.problems", broken)
    assert "internal error, please report it: RuntimeError" in one_line(run(redis_server, "status", status=1).stderr)
    assert "Traceback" in run(redis_server, "status", status=1, env={"LOG_LEVEL": "DEBUG"}).stderr


def test_a_key_that_is_no_stream_is_named(redis_server: Server) -> None:
    with client(redis_server) as connected:
        connected.set("orders_stream", "", ex=60)
    for command in (["tail", STREAM], ["status", STREAM], ["publish", STREAM, "a.b", "{}"], ["dlq", "list", STREAM]):
        assert "orders_stream is a string, not a stream" in one_line(run(redis_server, *command, status=1).stderr)


READING = (
    ["status"],
    ["status", "--json"],
    ["status", STREAM],
    ["tail", STREAM],
    ["tail", "orders_dlq", "--json"],
    ["dlq", "list", STREAM],
    ["dlq", "show", STREAM, "--json"],
    ["trace", "4bf92f35"],
    ["trace", "order-1", "--json"],
)


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


def test_reading_commands_change_nothing(redis_server: Server) -> None:
    with client(redis_server) as connected:
        fill(connected)
    before = everything(redis_server)
    for command in READING:
        run(redis_server, *command)
    assert everything(redis_server) == before


def test_reading_commands_need_no_right_but_to_read(start_server: StartServer) -> None:
    server = start_server()
    with client(server) as connected:
        fill(connected)
        rights = ["on", ">secret", "~*", "resetchannels", "+@read", "+@connection", "+time"]
        connected.execute_command("ACL", "SETUSER", "reader", *rights)
    url = f"redis://reader:secret@127.0.0.1:{server.port}"
    for command in READING:
        run(None, *command, env={"REDIS_URL": url})
    refused = run(None, "publish", STREAM, "a.b", "{}", env={"REDIS_URL": url}, status=1)
    assert "does not allow this" in one_line(refused.stderr)
    with client(server) as connected:
        connected.execute_command("ACL", "SETUSER", "reader", "-memory")
    document = run(None, "status", "--json", env={"REDIS_URL": url}).json
    assert (document["streams"][0]["memoryBytes"], document["server"]) == (None, None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate that vouches for itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command makes the certificate, and is not installed")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "server.crt", directory / "server.key"
    request = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return TlsFiles(certificate=certificate, key=key, ca=certificate)


def tls_server(start_server: StartServer, certificate: TlsFiles, **options: str) -> Server:
    try:
        return start_server(tls=certificate, **options)
    except ServerError as error:
        if "Failed finding TLS support" not in str(error):
            raise
        pytest.skip("this server was built without TLS")


def test_it_connects_by_tls(start_server: StartServer, certificate: TlsFiles) -> None:
    server = tls_server(start_server, certificate)
    assert run_program(server, "status", "--json", REDIS_CA_FILE=str(certificate.ca)).json["streams"] == []
    distrusted = run_program(server, "status")
    assert distrusted.status == 1
    assert "CERTIFICATE_VERIFY_FAILED" in one_line(distrusted.stderr)


@contextmanager
def sentinel(
    master: Server, directory: Path, tls: TlsFiles | None = None, *, password: str = "", its_own: str = ""
) -> Iterator[int]:
    """A Sentinel that watches over a server as `main`, reached by TLS as the server is; its port."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("there is no server on PATH to be a Sentinel")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    lines = ["bind 127.0.0.1", "protected-mode no", f"dir {directory}", f"port {0 if tls else port}"]
    if tls:
        lines += [f"tls-port {port}", "tls-replication yes", "tls-auth-clients no", f"tls-cert-file {tls.certificate}"]
        lines += [f"tls-key-file {tls.key}", f"tls-ca-cert-file {tls.ca}"]
    lines += [f"sentinel monitor main 127.0.0.1 {master.port} 1"]
    lines += [f"sentinel auth-pass main {password}"] if password else []
    lines += [f"requirepass {its_own}"] if its_own else []
    configuration = directory / "sentinel.conf"
    configuration.write_text("\n".join([*lines, ""]))
    with subprocess.Popen([program, configuration, "--sentinel"], stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout
            assert any("+monitor master main" in line for line in watching.stdout)
            yield port
        finally:
            watching.kill()


def test_it_connects_through_sentinel(any_server: Server, tmp_path: Path) -> None:
    with client(any_server) as connected:
        append(connected)
    with sentinel(any_server, tmp_path) as port:
        through = {"REDIS_SENTINELS": f"127.0.0.1:{port}", "REDIS_SENTINEL_MASTER": "main"}
        document = run(None, "status", "--json", env=through).json
        assert document["redis"] == "main by Sentinel"
        assert [each["stream"] for each in document["streams"]] == [STREAM]
        for wrong, complaint in (
            ({"REDIS_SENTINEL_MASTER": "other"}, "the Sentinels have no master of that name"),
            ({"REDIS_SENTINELS": "127.0.0.1:1"}, "no Sentinel answers"),
        ):
            assert complaint in one_line(run(None, "status", env={**through, **wrong}, status=1).stderr)


def test_sentinel_tls_password_and_prefix_go_together(
    start_server: StartServer, certificate: TlsFiles, tmp_path: Path
) -> None:
    server = tls_server(start_server, certificate, password="secret")
    with sentinel(server, tmp_path, certificate, password="secret") as port:
        through = {
            "REDIS_URL": "rediss://somewhere",
            "REDIS_PASSWORD": "secret",
            "REDIS_CA_FILE": str(certificate.ca),
            "REDIS_SENTINELS": f"127.0.0.1:{port}",
            "REDIS_SENTINEL_MASTER": "main",
            "KEY_PREFIX": "{shop}:",
        }
        published = run(None, "publish", STREAM, "a.b", '{"orderId": "order-1"}', "--json", env=through)
        [event] = run(None, "trace", "order-1", "--json", env=through).json["events"]
        assert event["id"] == published.json["entryId"]
        wrong = run(None, "status", env={**through, "REDIS_PASSWORD": "wrong"}, status=1)
        assert one_line(wrong.stderr) == "eventcore: Redis at main by Sentinel does not accept this user or password"


def test_sentinels_may_have_a_password_of_their_own(any_server: Server, tmp_path: Path) -> None:
    with sentinel(any_server, tmp_path, its_own="watchword") as port:
        through = {"REDIS_SENTINELS": f"127.0.0.1:{port}", "REDIS_SENTINEL_MASTER": "main"}
        known = run(None, "status", "--json", env={**through, "REDIS_SENTINEL_PASSWORD": "watchword"})
        assert known.json["redis"] == "main by Sentinel"
        for wrong in ({}, {"REDIS_SENTINEL_PASSWORD": "wrong"}, {"REDIS_PASSWORD": "watchword"}):
            refused = run(None, "status", env={**through, **wrong}, status=1)
            assert one_line(refused.stderr).endswith(
                "main by Sentinel is not known: the Sentinels want another REDIS_SENTINEL_PASSWORD"
            )


# Writing


def test_what_is_in_an_event_cannot_steer_the_terminal(redis_server: Server) -> None:
    evil = "\x1b[2J\x07\u202e[red]\u2028"
    with client(redis_server) as connected:
        _, event = append(connected, type=evil, orderId=evil, meta_correlationId=f"cafe{evil}", meta_source=evil)
        raw = json.dumps(event)
        connected.xadd(STREAM, {"event": "{" + evil})
        letter = append_letter(connected, event=raw, error=evil, type=evil, group=evil, traceback=evil, reason=evil)
        connected.xgroup_create(STREAM, evil, "0", mkstream=True)
        connected.zadd(f"{STREAM}:{evil}:beats", {evil: 1})
    shown = [
        run(redis_server, *command)
        for command in (
            ["tail", STREAM],
            ["dlq", "list", STREAM],
            ["dlq", "show", STREAM, "--id", letter],
            ["trace", "cafe" + evil],
            ["status"],
        )
    ]
    for result in shown:
        assert "[red]" in result.stdout
        assert result.stdout.replace("\n", "").isprintable()


def test_harmless_text_stays_as_it_is() -> None:
    assert clean("Zoë: 12 Äpfel, [bold] 🍎") == "Zoë: 12 Äpfel, [bold] 🍎"
    assert clean("a\nb\x1b\ud800") == "a\\nb\\u001b\\ud800"
    assert clean("a\nb\x1b", keep="\n") == "a\nb\\u001b"


def test_it_writes_to_terminals_that_know_only_ascii(any_server: Server) -> None:
    with client(any_server) as connected:
        append(connected, orderId="Zoë")
    plain = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert run_program(any_server, "tail", STREAM, "--json", **plain).json["key"] == "Zoë"
    shown = run_program(any_server, "tail", STREAM, **plain)
    assert (shown.status, shown.stderr) == (0, "")
    assert "Zo?" in shown.stdout


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_pipe_that_is_closed_early_is_no_accident(any_server: Server, form: list[str]) -> None:
    with client(any_server) as connected:
        many = connected.pipeline()
        for number in range(3000):
            many.xadd(STREAM, {"event": f'{{"number": {number}}}'})
        many.execute()
    with popen(any_server, "tail", STREAM, "-n", "3000", *form) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_disk_is_not_blamed_on_redis(any_server: Server, form: list[str]) -> None:
    with client(any_server) as connected:
        append(connected)
    full = redirected(any_server, ">/dev/full", "tail", STREAM, *form)
    assert (full.status, full.stderr) == (1, "eventcore: can't write to standard output: No space left on device\n")


def test_a_closed_stream_is_no_accident(any_server: Server) -> None:
    with client(any_server) as connected:
        append(connected)
    assert redirected(any_server, ">&-", "tail", STREAM) == Result(0, "", "")
    assert redirected(any_server, "2>&-", "tail", STREAM, "--json").json["stream"] == STREAM
    assert redirected(any_server, "2>&-", "tail", "nowhere") == Result(1, "", "")
    asked = redirected(any_server, "<&-", "publish", STREAM, "order.created", "-")
    assert (asked.status, "not JSON" in asked.stderr) == (2, True)


def redirected(server: Server, how: str, *arguments: str) -> Result:
    """Run the tool as a program by a shell that leads its streams elsewhere."""
    command = ["/bin/sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "eventcore", *arguments]
    done = subprocess.run(
        command, env=environment(server), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)
