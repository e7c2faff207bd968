"""The operator's tool connects like the services, and says in one line why it can't."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from eventcore.testing import Server, ServerNotRunning, TlsFiles
from eventcore.testing.fixtures import StartServer

from .sentinel import sentinel
from .tool import STREAM, append, append_letter, client, one_line, run, run_program


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


def test_a_server_that_does_not_answer_is_one_line(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.server.connection.REPLY_SECONDS", 0.2)
    monkeypatch.setattr("eventcore.server.connection.CONNECT_SECONDS", 0.2)
    server = start_server()
    server.pause()
    try:
        assert "does not answer" in one_line(run(server, "status", status=1).stderr)
        publishing = one_line(run(server, "publish", STREAM, "a.b", "{}", status=1).stderr)
        assert "does not answer" in publishing
    finally:
        server.resume()


def tls_server(start_server: StartServer, certificate: TlsFiles, **options: str) -> Server:
    try:
        return start_server(tls=certificate, **options)
    except ServerNotRunning as error:
        if "Failed finding TLS support" not in str(error):
            raise
        pytest.skip("this server was built without TLS")


def test_it_connects_by_tls(start_server: StartServer, certificate: TlsFiles) -> None:
    server = tls_server(start_server, certificate)
    assert run_program(server, "status", "--json", REDIS_CA_FILE=str(certificate.ca)).json["streams"] == []
    distrusted = run_program(server, "status")
    assert distrusted.status == 1
    assert "CERTIFICATE_VERIFY_FAILED" in one_line(distrusted.stderr)


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
