"""`eventcore dlq` lists and shows dead letters, hands them back to the group that failed them, and deletes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from eventcore.cli import letters, letters_view
from eventcore.operate import entries
from eventcore.operate.dead_letters import DeadLetters
from eventcore.testing import Server

from .tool import GROUP, STREAM, append, append_letter, client, one_line, run

RETRIES = f"{STREAM}:{GROUP}:retry"
OTHER = "billing-group"


@pytest.fixture
def connected(redis_server: Server) -> Iterator[redis.Redis]:
    with client(redis_server) as connection:
        yield connection


def ids(server: Server, *arguments: str) -> list[str]:
    document = run(server, "dlq", "list", STREAM, "--json", *arguments).json
    return [letter["id"] for letter in document["letters"]]


def retries(connected: redis.Redis, group: str = GROUP) -> list[dict[bytes, bytes]]:
    rows: Any = connected.xrange(f"{STREAM}:{group}:retry")
    return [fields for _, fields in rows]


def test_a_listed_letter_says_what_failed_where_and_why(redis_server: Server, connected: redis.Redis) -> None:
    letter_id = append_letter(connected)
    document = run(redis_server, "dlq", "list", STREAM, "--json").json
    assert document == {
        "stream": STREAM,
        "deadLetters": "orders_dlq",
        "group": None,
        "letters": [
            {
                "id": letter_id,
                "failedAt": "2026-11-23T10:00:31.000Z",
                "group": GROUP,
                "reason": "attempts_exhausted",
                "type": "order.created",
                "eventId": "e-1",
                "correlationId": "4bf92f3577b34da6a3ce929d0e0e4736",
                "errorType": "ValueError",
                "error": "no such product",
                "entryId": "1-0",
                "attempts": 5,
            }
        ],
    }
    heading, line = run(redis_server, "dlq", "list", STREAM).lines
    assert heading.split() == ["ID", "WHEN", "GROUP", "REASON", "ATTEMPTS", "TYPE", "EVENT", "ID", "ERROR"]
    known = [letter_id, "2026-11-23T10:00:31.000Z", GROUP, "attempts_exhausted", "5", "order.created", "e-1"]
    assert line.split() == [*known, "ValueError:", "no", "such", "product"]


def test_a_letter_of_another_program_is_listed_as_far_as_it_goes(redis_server: Server, connected: redis.Redis) -> None:
    connected.xadd("orders_dlq", {"event": "{}", "error": "boom", "attempts": "many"}, id="1795422227446-0")
    [letter] = run(redis_server, "dlq", "list", STREAM, "--json").json["letters"]
    assert (letter["error"], letter["attempts"], letter["group"], letter["failedAt"]) == ("boom", None, None, None)
    _, line = run(redis_server, "dlq", "list", STREAM).lines
    assert line.split() == ["1795422227446-0", "2026-11-23T08:23:47.446Z", "-", "-", "many", "-", "-", "boom"]


def test_letters_can_be_chosen_by_group_id_and_number(
    redis_server: Server, connected: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 10):
        append_letter(connected, f"{number}-0", group=OTHER if number % 3 == 0 else GROUP)
    monkeypatch.setattr(entries, "PAGE_SIZE", 2)
    monkeypatch.setattr(letters, "PAGE_SIZE", 2)
    assert ids(redis_server) == [f"{number}-0" for number in range(1, 10)]
    assert ids(redis_server, "--group", OTHER) == ["3-0", "6-0", "9-0"]
    assert ids(redis_server, "-n", "3") == ["7-0", "8-0", "9-0"]
    assert ids(redis_server, "-n", "2", "-g", OTHER) == ["6-0", "9-0"]
    assert ids(redis_server, "-n", "99", "-g", OTHER) == ["3-0", "6-0", "9-0"]
    assert ids(redis_server, "--id", "4-0", "--id", "2-0", "--id", "4-0") == ["4-0", "2-0"]


def test_people_see_the_newest_hundred_and_are_told_so(redis_server: Server, connected: redis.Redis) -> None:
    for number in range(1, 152):
        append_letter(connected, f"{number}-0")
    few = run(redis_server, "dlq", "list", STREAM)
    assert (len(few.lines), few.lines[1].split()[0], few.lines[-1].split()[0]) == (101, "52-0", "151-0")
    assert one_line(few.stderr) == "these are the newest 100; --all shows all of orders_dlq"
    everything = run(redis_server, "dlq", "list", STREAM, "--all")
    assert (len(everything.lines), everything.stderr) == (152, "")
    assert len({line.index("attempts_exhausted") for line in everything.lines[1:]}) == 1


def test_there_may_be_no_letters(redis_server: Server, connected: redis.Redis) -> None:
    append(connected)
    for command in ("list", "show"):
        assert run(redis_server, "dlq", command, STREAM, "--json").json["letters"] == []
    nothing = run(redis_server, "dlq", "list", "orders_dlq", "-g", GROUP)
    assert (nothing.stdout, nothing.stderr) == ("", f"there are no dead letters in orders_dlq (group {GROUP})\n")
    assert run(redis_server, "dlq", "redrive", STREAM, "--all").stdout == "0 of 0 redriven\n"


def test_a_stream_that_is_not_there_is_an_error(redis_server: Server) -> None:
    for command in (["list"], ["show"], ["redrive", "--all"], ["purge", "--all"]):
        missing = run(redis_server, "dlq", command[0], STREAM, *command[1:], status=1)
        assert (missing.stdout, missing.stderr) == ("", f"eventcore: there is no stream {STREAM}; there are: none\n")


def test_streams_with_other_names_have_dead_letters_as_well(redis_server: Server, connected: redis.Redis) -> None:
    append(connected, "payments")
    append_letter(connected, "1-0", "payments_dlq", stream="payments")
    assert run(redis_server, "dlq", "redrive", "payments_dlq", "--all", "--json").json["stream"] == "payments"
    assert connected.xlen(f"payments:{GROUP}:retry") == 1


def test_showing_a_letter_tells_everything(redis_server: Server, connected: redis.Redis) -> None:
    letter_id = append_letter(connected, error="no such product\nat all")
    append_letter(connected)
    shown = run(redis_server, "dlq", "show", STREAM, "--id", letter_id).stdout
    assert f"dead letter {letter_id}" in shown
    assert "  reason         attempts_exhausted\n" in shown
    assert "  error          no such product\n                 at all\n" in shown
    assert '      "type": "order.created",\n' in shown
    assert '    Traceback (most recent call last):\n      File "x.py", line 3, in reserve\n' in shown
    assert "traceparent" not in shown

    [letter] = run(redis_server, "dlq", "show", STREAM, "--id", letter_id, "--json").json["letters"]
    assert letter["event"]["data"] == {"orderId": "o-1"}
    assert letter["traceback"].startswith("Traceback")
    assert (letter["attempts"], letter["consumer"], letter["firstSeen"]) == (5, "pod-1", "2026-11-23T10:00:00.000Z")
    assert len(run(redis_server, "dlq", "show", STREAM, "--json").json["letters"]) == 2


def test_showing_a_letter_whose_event_is_no_json(redis_server: Server, connected: redis.Redis) -> None:
    connected.xadd("orders_dlq", {"event": "{broken", "reason": "undecodable"})
    connected.xadd("orders_dlq", {"fields": '{"a": "b"}', "reason": "undecodable"})
    shown = run(redis_server, "dlq", "show", STREAM).stdout
    assert "    {broken\n" in shown
    assert '      "a": "b"\n' in shown
    broken, without = run(redis_server, "dlq", "show", STREAM, "--json").json["letters"]
    assert (broken["event"], without["event"], without["fields"]) == ("{broken", None, '{"a": "b"}')


@pytest.mark.parametrize("event", ["[" * 100_000, '{"a":NaN}', '{"a":1e999}'], ids=["deep", "no number", "infinite"])
def test_showing_a_letter_whose_event_is_json_only_to_some(
    redis_server: Server, connected: redis.Redis, event: str
) -> None:
    connected.xadd("orders_dlq", {"event": event, "reason": "undecodable"})
    assert event in run(redis_server, "dlq", "show", STREAM).stdout
    [letter] = run(redis_server, "dlq", "show", STREAM, "--json").json["letters"]
    assert letter["event"] == event


def test_a_redriven_event_goes_to_the_group_that_failed_it_and_to_no_other(
    redis_server: Server, connected: redis.Redis
) -> None:
    append_letter(connected, "1-0", event='{"first": 1}')
    append_letter(connected, "2-0", event='{"second": 2}', group=OTHER)
    result = run(redis_server, "dlq", "redrive", "orders_dlq", "--id", "1-0")
    assert result.stdout == "1 of 1 redriven\n"
    assert retries(connected) == [{b"event": b'{"first": 1}', b"entryId": b"1-0"}]
    assert retries(connected, OTHER) == []
    assert connected.xlen(STREAM) == 0
    assert ids(redis_server) == ["2-0"]


def test_redriving_all_may_be_limited_to_a_group(
    redis_server: Server, connected: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "_BATCH", 2)
    for number in range(1, 8):
        append_letter(connected, f"{number}-0", group=OTHER if number == 4 else GROUP)
    document = run(redis_server, "dlq", "redrive", STREAM, "--all", "--group", GROUP, "--json").json
    assert document == {
        "stream": STREAM,
        "deadLetters": "orders_dlq",
        "group": GROUP,
        "asked": 6,
        "redriven": 6,
        "unknownIds": [],
        "notRedrivableIds": [],
    }
    assert len(retries(connected)) == 6
    assert ids(redis_server) == ["4-0"]


def test_redriving_twice_hands_back_once(redis_server: Server, connected: redis.Redis) -> None:
    append_letter(connected, "1-0")
    run(redis_server, "dlq", "redrive", STREAM, "--id", "1-0")
    again = run(redis_server, "dlq", "redrive", STREAM, "--id", "1-0", status=1)
    assert again.stdout == "0 of 1 redriven\n"
    assert one_line(again.stderr) == "eventcore: no such dead letter in orders_dlq: 1-0"
    assert len(retries(connected)) == 1


def test_an_event_that_fails_again_at_once_is_not_redriven_for_ever(
    redis_server: Server, connected: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redrive = DeadLetters.redrive

    async def redrive_and_fail_again(self: DeadLetters, chosen: Any) -> int:
        done = await redrive(self, chosen)
        append_letter(connected)
        return done

    monkeypatch.setattr(DeadLetters, "redrive", redrive_and_fail_again)
    monkeypatch.setattr(letters, "_BATCH", 1)
    append_letter(connected)
    append_letter(connected)
    assert run(redis_server, "dlq", "redrive", STREAM, "--all").stdout == "2 of 2 redriven\n"
    assert connected.xlen("orders_dlq") == 2


def test_a_group_that_is_not_there_to_take_its_events_is_mentioned(
    redis_server: Server, connected: redis.Redis
) -> None:
    append_letter(connected)
    append_letter(connected, group=OTHER)
    connected.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    result = run(redis_server, "dlq", "redrive", STREAM, "--all")
    assert result.stdout == "2 of 2 redriven\n"
    assert one_line(result.stderr) == f"{OTHER} does not read {STREAM} now: its events wait for it"


def test_letters_that_cannot_be_redriven_stay(redis_server: Server, connected: redis.Redis) -> None:
    connected.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    append_letter(connected, "1-0", event="")
    append_letter(connected, "2-0", group="")
    append_letter(connected, "3-0")
    result = run(redis_server, "dlq", "redrive", STREAM, "--all", "--json", status=1)
    assert (result.json["asked"], result.json["redriven"]) == (3, 1)
    assert result.json["notRedrivableIds"] == ["1-0", "2-0"]
    assert one_line(result.stderr) == "eventcore: these hold no event or name no group, and stay: 1-0, 2-0"
    assert ids(redis_server) == ["1-0", "2-0"]


def test_unknown_ids_are_named_and_the_others_are_done(redis_server: Server, connected: redis.Redis) -> None:
    append_letter(connected, "1-0")
    append_letter(connected, "2-0", group=OTHER)
    connected.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    chosen = ["--group", GROUP, "--id", "1-0", "--id", "2-0", "--id", "9-9"]
    for command, done in (("list", None), ("show", None), ("redrive", "1 of 3 redriven\n")):
        result = run(redis_server, "dlq", command, STREAM, *chosen, status=1)
        assert one_line(result.stderr) == f"eventcore: no such dead letter in orders_dlq (group {GROUP}): 2-0, 9-9"
        assert done in (None, result.stdout)
    document = run(redis_server, "dlq", "purge", STREAM, "--id", "2-0", "--id", "9-9", "--json", status=1).json
    assert (document["asked"], document["purged"], document["unknownIds"]) == (2, 1, ["9-9"])


def test_purging_deletes_for_good(redis_server: Server, connected: redis.Redis) -> None:
    for number in range(1, 5):
        append_letter(connected, f"{number}-0", group=OTHER if number == 4 else GROUP)
    assert run(redis_server, "dlq", "purge", STREAM, "--id", "1-0").stdout == "1 of 1 purged\n"
    assert ids(redis_server) == ["2-0", "3-0", "4-0"]
    assert run(redis_server, "dlq", "purge", STREAM, "--all", "-g", GROUP).stdout == "2 of 2 purged\n"
    assert run(redis_server, "dlq", "purge", STREAM, "--all", "--json").json == {
        "stream": STREAM,
        "deadLetters": "orders_dlq",
        "group": None,
        "asked": 1,
        "purged": 1,
        "unknownIds": [],
    }
    assert retries(connected) == []


@pytest.mark.parametrize("command", ["redrive", "purge"])
def test_nobody_redrives_or_purges_without_saying_what(
    redis_server: Server, connected: redis.Redis, command: str
) -> None:
    append_letter(connected, "1-0")
    assert "say which" in run(redis_server, "dlq", command, STREAM, status=2).stderr
    assert "not together" in run(redis_server, "dlq", command, STREAM, "--all", "--id", "1-0", status=2).stderr
    assert "not an entry id" in run(redis_server, "dlq", command, STREAM, "--id", "1", status=2).stderr
    assert run(redis_server, "dlq", "list", STREAM, "--all", "-n", "1", status=2).stdout == ""
    assert ids(redis_server) == ["1-0"]


def test_a_list_is_written_as_it_is_read(
    redis_server: Server, connected: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters_view, "_BATCH", 2)
    for number in range(1, 6):
        append_letter(connected, f"{number}-0", group="a-group-with-a-longer-name" if number == 3 else "short")
    heading, *lines = run(redis_server, "dlq", "list", STREAM).lines
    assert [line.split()[0] for line in lines] == ["1-0", "2-0", "3-0", "4-0", "5-0"]
    columns = [line.index("attempts_exhausted") for line in lines if "short" in line]
    assert columns == [heading.index("REASON")] * 4
