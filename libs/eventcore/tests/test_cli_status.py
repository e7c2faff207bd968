"""`eventcore status` shows every stream with its groups and consumers, says what is wrong, and goes on looking."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest

from eventcore.testing import Server

from .tool import GROUP, SECONDS, STREAM, append, append_letter, client, one_line, program, run

RETRIES = f"{STREAM}:{GROUP}:retry"
BEATS = f"{STREAM}:{GROUP}:beats"


def now(connected: Any) -> int:
    seconds, microseconds = connected.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


# The servers of tests keep nothing on disk, and have no limit of memory.
OF_TEST_SERVERS = {"no_persistence", "no_memory_limit"}


def status(server: Server, *arguments: str, env: Mapping[str, str] = {}) -> Any:
    return in_order(run(server, "status", "--json", *arguments, env=env).json)


def in_order(document: Any) -> Any:
    """A document as it would be of a server in order."""
    return {**document, "problems": [each for each in document["problems"] if each["kind"] not in OF_TEST_SERVERS]}


def kinds(document: Any) -> set[str]:
    return {problem["kind"] for problem in document["problems"]}


def test_an_empty_server_has_no_streams_and_no_problems(redis_server: Server) -> None:
    document = status(redis_server)
    assert (document["streams"], document["problems"], document["prefix"]) == ([], [], "")
    assert document["redis"] == f"127.0.0.1:{redis_server.port}"
    assert "no streams yet" in run(redis_server, "status").stdout


@pytest.mark.parametrize(
    "key", [STREAM, "orders_dlq", BEATS, f"{STREAM}:{GROUP}:members", RETRIES, f"{RETRIES}:{GROUP}:beats"]
)
def test_what_stands_in_the_place_of_something_else_is_named_and_the_other_streams_are_shown(
    redis_server: Server, key: str
) -> None:
    with client(redis_server) as connected:
        append(connected, "other_stream")
        for stream in (STREAM, RETRIES):
            connected.xgroup_create(stream, GROUP, "0", mkstream=True)
        connected.set(key, "a string")
    document = status(redis_server)
    assert [stream["stream"] for stream in document["streams"]] == ["other_stream"]
    [problem] = [each for each in document["problems"] if each["kind"] == "wrong_type"]
    assert (problem["stream"], problem["severity"]) == (STREAM, "critical")
    assert f"{key} is a string, not a " in problem["message"]
    assert f"! {STREAM}: {key} is a string, not a " in run(redis_server, "status").stdout


def test_the_document_has_a_fixed_shape(redis_server: Server) -> None:
    with client(redis_server) as connected:
        at = now(connected)
        append(connected, STREAM, f"{at - 9_000}-0")
        append(connected, STREAM, f"{at - 4_000}-0")
        for stream in (STREAM, RETRIES):
            connected.xgroup_create(stream, GROUP, "0", mkstream=True)
        connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, count=1)
        connected.zadd(BEATS, {"pod-1": at})
        append_letter(connected)

    document = status(redis_server)

    [stream] = document.pop("streams")
    [group] = stream.pop("groups")
    [consumer] = group.pop("consumers")
    letters, retry, oldest = stream.pop("deadLetters"), group.pop("retry"), group.pop("oldestPending")
    assert document.keys() == {"redis", "prefix", "time", "server", "problems"}
    server = document["server"]
    assert server.pop("version").startswith(("Redis ", "Valkey "))
    assert server.pop("memoryBytes") > 0
    assert server == {
        "role": "master",
        "memoryLimitBytes": None,
        "evictionPolicy": "noeviction",
        "appendOnly": False,
        "appendOnlyOk": True,
        "snapshotsOk": True,
    }
    assert 4 <= stream.pop("newestAgeSeconds") < 9 <= stream.pop("oldestAgeSeconds") < 19
    assert stream.pop("memoryBytes") > 0
    assert stream == {
        "stream": STREAM,
        "exists": True,
        "length": 2,
        "entriesAdded": 2,
        "addedPerSecond": 0,
        "lastGeneratedId": f"{at - 4_000}-0",
    }
    assert letters.pop("oldestAgeSeconds") >= 0
    assert letters.pop("newestAgeSeconds") >= 0
    reasons = {"attempts_exhausted": 1}
    assert letters == {
        "stream": "orders_dlq",
        "length": 1,
        "byGroup": {GROUP: 1},
        "byReason": reasons,
        "partial": False,
    }
    assert 4 <= group.pop("lagSeconds") < 9
    assert group == {
        "group": GROUP,
        "lag": 1,
        "lagCapped": False,
        "lagPerSecond": 0,
        "donePerSecond": 0,
        "lastDeliveredId": f"{at - 9_000}-0",
        "pending": 1,
        "deadLetters": 1,
        "aside": {"count": 0, "oldestAgeSeconds": None, "next": None},
    }
    assert 9 <= oldest.pop("ageSeconds") < 19
    assert 0 <= oldest.pop("idleSeconds") < 10
    assert oldest == {"entryId": f"{at - 9_000}-0", "consumer": "pod-1", "attempts": 1}
    assert consumer.pop("lastHeartbeat").endswith("Z")
    assert consumer.pop("silentSeconds") >= 0
    assert consumer.pop("idleSeconds") >= 0
    told = {"consumer": "pod-1", "alive": True, "left": False, "pending": 1, "retryPending": 0, "handles": None}
    assert consumer == told
    assert retry == {
        "stream": RETRIES,
        "length": 0,
        "lag": 0,
        "lagCapped": False,
        "lagSeconds": 0.0,
        "lastDeliveredId": "0-0",
        "pending": 0,
        "oldestPending": None,
    }
    [problem] = document["problems"]
    message = problem.pop("message")
    assert re.fullmatch(rf"1 dead letter, \S+s ago \(1 attempts_exhausted\): eventcore dlq list {STREAM}", message)
    assert problem == {"severity": "critical", "kind": "dead_letters", "stream": STREAM, "group": None}


def test_a_dead_consumer_that_holds_entries_is_a_problem(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected)
        connected.xgroup_create(STREAM, GROUP, "0")
        connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"})
        connected.zadd(BEATS, {"pod-1": now(connected) - 60_000, "pod-2": now(connected)})
    document = status(redis_server)
    assert kinds(document) == {"dead_consumer_holds"}
    assert re.fullmatch(r"pod-1 is dead for 1m\d\ds and holds 1 entry", document["problems"][0]["message"])
    shown = run(redis_server, "status").stdout
    assert "! inventory-group on orders_stream: pod-1 is dead for 1m" in shown
    assert "✗ pod-1  dead, heartbeat 1m" in shown
    assert "● pod-2  heartbeat " in shown


def test_how_long_silence_is_death_is_the_services_setting(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected)
        connected.xgroup_create(STREAM, GROUP, "0")
        connected.zadd(BEATS, {"pod-1": now(connected) - 60_000})
    result = run(redis_server, "status", "--json", env={"DEAD_AFTER_SECONDS": "600"}).json
    assert result["streams"][0]["groups"][0]["consumers"][0]["alive"]


def test_a_group_without_a_living_consumer_is_a_problem_only_if_something_waits(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected)
        connected.xgroup_create(STREAM, GROUP, "0")
        assert kinds(status(redis_server)) == {"no_consumer"}
        connected.xgroup_setid(STREAM, GROUP, "$")
        assert kinds(status(redis_server)) == set()

        connected.xgroup_create(RETRIES, GROUP, "0", mkstream=True)
        append(connected, RETRIES)
        assert kinds(status(redis_server)) == {"no_consumer"}


def test_what_stands_in_a_stream_that_nobody_reads_is_a_lesser_problem(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected)
    [problem] = status(redis_server)["problems"]
    assert (problem["kind"], problem["severity"]) == ("no_group", "warning")


def test_old_entries_that_are_unfinished_or_undelivered_are_problems(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, STREAM, "1-0")
        append(connected, STREAM, "2-0")
        connected.xgroup_create(STREAM, GROUP, "0")
        connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, count=1)
        connected.zadd(BEATS, {"pod-1": now(connected)})
    assert kinds(status(redis_server)) == {"stuck", "behind"}


def test_a_stream_near_its_hard_cap_is_a_problem(redis_server: Server) -> None:
    with client(redis_server) as connected:
        for _ in range(9):
            append(connected)
        connected.xgroup_create(STREAM, GROUP, "$")
    assert status(redis_server, env={"STREAM_CAP": "11"})["problems"] == []
    assert kinds(status(redis_server, env={"STREAM_CAP": "10"})) == {"nearly_full"}


def test_streams_can_be_named_whatever_they_are_called(redis_server: Server) -> None:
    with client(redis_server) as connected:
        for stream in (STREAM, "bills_stream", "payments"):
            append(connected, stream)
    assert [each["stream"] for each in status(redis_server)["streams"]] == ["bills_stream", STREAM]
    assert [each["stream"] for each in status(redis_server, "payments", STREAM)["streams"]] == ["payments", STREAM]
    missing = run(redis_server, "status", "order_stream", status=1)
    assert missing.stderr == "eventcore: there is no stream order_stream; did you mean orders_stream?\n"


def test_dead_letters_of_a_stream_that_is_gone_are_shown(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append_letter(connected)
    [stream] = status(redis_server)["streams"]
    assert (stream["stream"], stream["exists"], stream["deadLetters"]["length"]) == (STREAM, False, 1)
    assert "orders_stream  not there" in run(redis_server, "status").stdout


def test_many_consumers_that_hold_nothing_are_summed_up(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected)
        connected.xgroup_create(STREAM, GROUP, "$")
        connected.zadd(BEATS, {f"pod-{number:02}": now(connected) for number in range(20)})
        connected.zadd(BEATS, {f"gone-{number:02}": 1 for number in range(10)})
    shown = run(redis_server, "status").stdout
    assert (shown.count("●"), shown.count("✗")) == (8, 8)
    assert "and 12 more, alive and holding nothing" in shown
    assert "and 2 more, dead and holding nothing" in shown


def test_one_run_tells_whether_it_gets_better(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(redis_server) as connected:
        for number in range(1, 10):
            append(connected, STREAM, f"{number}-0")
        connected.xgroup_create(STREAM, GROUP, "0")
        connected.zadd(BEATS, {"pod-1": now(connected)})

        async def meanwhile(_: float) -> None:
            read: Any = connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, count=2)
            connected.xack(STREAM, GROUP, *(entry_id for entry_id, _ in read[0][1]))
            time.sleep(0.001)  # noqa: ASYNC251 - the server's clock must go on for a rate

        monkeypatch.setattr("eventcore.cli.status.asyncio.sleep", meanwhile)
        document = status(redis_server)
    [stream] = document["streams"]
    [group] = stream["groups"]
    assert group["lag"] == 5
    assert group["lagPerSecond"] < 0 < group["donePerSecond"]
    [problem] = document["problems"]
    assert re.search(r"5 undelivered, the first for .*, falling by \S+/s: done in about ", problem["message"])


def test_lag_that_was_not_counted_to_its_end_says_so(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.operate.inspection.inspector.COUNTED_LAG", 3)
    with client(redis_server) as connected:
        for number in range(1, 10):
            append(connected, STREAM, f"{number}-0")
        connected.xgroup_create(STREAM, GROUP, "2-0")
    [stream] = status(redis_server)["streams"]
    assert (stream["groups"][0]["lag"], stream["groups"][0]["lagCapped"]) == (3, True)
    assert "≥3" in run(redis_server, "status").stdout


def test_watching_writes_a_document_a_line_until_ctrl_c(any_server: Server) -> None:
    with client(any_server) as connected:
        append(connected)
        with program(any_server, "status", "-w", "--json", "--interval", "0.1") as looking:
            assert looking.stdout
            assert json.loads(looking.stdout.readline())["streams"][0]["length"] == 1
            append(connected)
            assert any(json.loads(line)["streams"][0]["length"] == 2 for line in looking.stdout)


def test_watching_notices_that_lag_is_rising(any_server: Server) -> None:
    with client(any_server) as connected:
        append(connected, STREAM, "1-0")
        connected.xgroup_create(STREAM, GROUP, "0")
        connected.zadd(BEATS, {"pod-1": now(connected)})
        assert kinds(status(any_server)) == {"behind"}
        with program(any_server, "status", "-w", "--json", "--interval", "0.1") as looking:
            assert looking.stdout
            for line in looking.stdout:
                append(connected)
                connected.zadd(BEATS, {"pod-1": now(connected)})
                if "lag_rising" in kinds(json.loads(line)):
                    break


def test_watching_outlasts_a_server_that_is_away() -> None:
    with Server(append_only=True) as server:
        with client(server) as connected:
            append(connected)
        with program(server, "status", "--watch", "--interval", "0.1") as looking:
            assert looking.stdout
            assert looking.stderr
            assert any("1 entry" in line for line in looking.stdout)
            server.kill()
            assert "out of reach" in one_line(looking.stderr.readline())
            server.restart()
            assert any("1 entry" in line for line in looking.stdout)


def test_watching_a_server_that_was_never_there_fails_at_once() -> None:
    with Server() as server:
        server.kill()
        assert "out of reach" in one_line(run(server, "status", "--watch", status=1).stderr)


def test_ctrl_c_ends_watching_whatever_it_is_doing(any_server: Server) -> None:
    with program(any_server, "status", "--watch", "--interval", "3600") as looking:
        assert looking.stdout
        assert looking.stdout.readline()
        looking.send_signal(signal.SIGINT)
        assert looking.wait(SECONDS) == 0


def test_what_goes_into_a_pipe_is_not_padded(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected)
        append_letter(connected)
        connected.xgroup_create(STREAM, GROUP, "0")
    lines = run(redis_server, "status").lines
    assert lines == [line.rstrip() for line in lines]
