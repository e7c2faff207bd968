"""What the operator's tool says: one line of what is wrong, and 0, 1 or 2 at the end; nothing steers a terminal."""

from __future__ import annotations

import json

import pytest

from eventcore.cli.output import clean
from eventcore.testing import Server
from eventcore.testing.fixtures import StartServer

from .tool import (
    STREAM,
    Result,
    append,
    append_letter,
    client,
    everything,
    fill,
    one_line,
    popen,
    redirected,
    run,
    run_program,
)


def test_a_wrong_setting_is_wrong_usage(any_server: Server) -> None:
    result = run_program(any_server, "status", REDIS_SENTINELS="nonsense")
    assert result.status == 2
    assert "REDIS_SENTINELS" in one_line(result.stderr)
    assert "REDIS_URL" in one_line(run(None, "status", "--redis-url", "http://x", status=2).stderr)
    assert "REDIS_URL" in one_line(run(None, "status", "--redis-url", "redis://[", status=2).stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["status", "--bogus"],
        ["tail"],
        ["dlq", "bogus"],
        ["tail", "s", "-n", "-1"],
        *(["status", "-w", "--interval", seconds] for seconds in ("0.05", "inf", "nan", "1e300", "x")),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert "Usage:" in run(None, *arguments, status=2).stderr


def test_the_program_has_help_for_every_command() -> None:
    for command in ([], ["status"], ["tail"], ["trace"], ["publish"], ["dlq"], ["dlq", "redrive"], ["dlq", "purge"]):
        assert "Usage: eventcore" in run(None, *command, "--help").stdout.replace("root", "eventcore")
    helped = run_program(None, "dlq", "redrive", "-h")
    assert helped.status == 0
    assert "Usage: eventcore dlq redrive" in helped.stdout


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
