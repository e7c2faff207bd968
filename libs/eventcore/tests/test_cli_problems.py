"""What the tool calls a problem, and how bad it is, decided from values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventcore.cli.problems import FoundProblem, problems
from eventcore.operate.inspection import (
    ConsumerState,
    DeadLetterState,
    GroupState,
    Lag,
    PendingEntry,
    Progress,
    ServerState,
    StreamState,
)
from eventcore.operate.inspection.server import state_of
from eventcore.operate.trends import Trends
from eventcore.server.requirements import Facts, Finding, findings

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
GIB = 2**30
SERVER = ServerState("Redis 7.0.15", False, GIB // 2, GIB, "noeviction", 3, 10, True, True, True)
LETTERS = DeadLetterState("orders_dlq", 0, None, None, {}, {}, partial=False)
NO_LAG = Lag()
ALIVE = ConsumerState("pod-1", True, False, START, timedelta(0), timedelta(0), 0, 0)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def group(lag: Lag = NO_LAG, oldest: PendingEntry | None = None, *consumers: ConsumerState) -> GroupState:
    main = Progress("orders_stream", 0, "0-0", lag, int(oldest is not None), oldest)
    return GroupState("inventory-group", main, None, consumers or (ALIVE,), 0)


def stream(*groups: GroupState, letters: DeadLetterState = LETTERS, second: int = 0) -> StreamState:
    at = START + timedelta(seconds=second)
    return StreamState("orders_stream", True, at, 10, 10, "9-0", minutes(1), minutes(1), 1, groups, letters)


def of_server(**changes: Any) -> list[FoundProblem]:
    return problems(replace(SERVER, **changes), [], Trends(), cap=100)


def found(**info: str) -> tuple[Finding, ...]:
    return tuple(findings(Facts({"maxmemory_policy": "noeviction", **info}, None)))


def of_streams(*looks: StreamState) -> list[FoundProblem]:
    trends = Trends()
    for look in looks:
        trends.observe([look])
    return problems(SERVER, [looks[-1]], trends, cap=100)


def test_a_server_in_good_order_is_no_problem() -> None:
    assert of_server() == []


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"memory": GIB * 95 // 100}, "memory_nearly_full", "972.8 MiB of 1.0 GiB of memory are used"),
        ({"findings": found(aof_last_write_status="err")}, "append_only_failing", "can't be written"),
        ({"findings": found(rdb_last_bgsave_status="err")}, "snapshots_failing", "the last snapshot failed"),
        ({"findings": found(maxmemory_policy="allkeys-lru")}, "may_evict", "allkeys-lru, which may evict whole"),
        ({"is_replica": True}, "replica", "this is a replica"),
    ],
)
def test_what_is_wrong_with_the_server_is_said(changes: dict[str, Any], kind: str, words: str) -> None:
    [problem] = of_server(**changes)
    assert (problem.kind, problem.stream, problem.group) == (kind, None, None)
    assert words in problem.text
    assert problem.grave is (kind != "replica")


def test_the_servers_own_report_is_understood() -> None:
    report: dict[str, Any] = {
        "redis_version": "7.2.4",
        "valkey_version": "9.1.2",
        "role": "slave",
        "used_memory": 1000,
        "mem_not_counted_for_evict": 100,
        "maxmemory": 2000,
        "maxmemory_policy": "allkeys-lru",
        "aof_enabled": 1,
        "aof_last_write_status": "err",
        "aof_last_bgrewrite_status": "ok",
        "rdb_last_bgsave_status": "err",
    }
    state = state_of(report)
    assert (state.version, state.is_replica, state.memory_used) == ("Valkey 9.1.2", True, 0.45)
    assert {each.kind for each in state.findings} == {"may_evict", "append_only_failing", "snapshots_failing"}
    assert (state.append_only, state.append_only_ok, state.snapshots_ok) == (True, False, False)
    assert not state_of({"aof_last_bgrewrite_status": "err"}).append_only_ok
    sparse = state_of({"redis_version": "7.0"})
    assert (sparse.memory_limit, sparse.append_only_ok, sparse.snapshots_ok) == (None, True, True)


def test_a_server_that_may_not_be_asked_is_said_to_be_unchecked() -> None:
    [problem] = problems(None, [], Trends(), cap=100)
    assert (problem.kind, problem.grave) == ("unchecked", False)


def test_dead_letters_say_how_many_why_and_whether_more_come() -> None:
    letters = replace(LETTERS, length=1204, newest_age=minutes(2), by_reason={"rejected": 1200, "": 4})
    [problem] = of_streams(stream(group(), letters=letters))
    assert problem.text == (
        "1,204 dead letters, the newest 2m00s ago (1,200 rejected, 4 unknown): eventcore dlq list orders_stream"
    )


@pytest.mark.parametrize(("age", "attempts", "kind"), [(1, 1, None), (1, 3, "retrying"), (6, 3, "stuck")])
def test_what_is_tried_again_and_again_names_itself(age: float, attempts: int, kind: str | None) -> None:
    oldest = PendingEntry("5-1", "pod-1", minutes(age), timedelta(seconds=12), attempts)
    found = of_streams(stream(group(Lag(), oldest)))
    assert [problem.kind for problem in found] == ([kind] if kind else [])
    for problem in found:
        assert problem.grave is (kind == "stuck")
        assert problem.text == (
            f"5-1 is unfinished after {age:.0f}m00s, attempt 3 began 12s ago on pod-1: eventcore trace 5-1"
        )


@pytest.mark.parametrize(
    ("lags", "kind", "words"),
    [
        ([900], "behind", "900 undelivered, the first for 6m00s"),
        ([900, 900, 900], "behind", "900 undelivered, the first for 6m00s, and not falling"),
        ([920, 910, 900], "behind", "900 undelivered, the first for 6m00s, falling by 10/s: done in about 1m30s"),
        ([880, 890, 900], "lag_rising", "lag is rising by 10/s: 900 undelivered, the first for 6m00s"),
    ],
)
def test_lag_says_since_when_and_whether_it_gets_better(lags: list[int], kind: str, words: str) -> None:
    looks = [stream(group(Lag(lag, minutes(6))), second=second) for second, lag in enumerate(lags)]
    [problem] = of_streams(*looks)
    assert (problem.kind, problem.text) == (kind, words)


def test_many_dead_consumers_are_one_problem() -> None:
    dead = [replace(ALIVE, name=f"pod-{number}", alive=False, pending=2) for number in range(1, 6)]
    [problem] = of_streams(stream(group(NO_LAG, None, *dead, ALIVE)))
    assert problem.text == ("5 consumers are dead or have left, and hold 10 entries: pod-1, pod-2, pod-3 and 2 more")


def test_the_gravest_comes_first() -> None:
    letters = replace(LETTERS, length=1, by_reason={"rejected": 1})
    silent = replace(ALIVE, alive=False, silent=minutes(3), pending=2)
    found = of_streams(stream(group(Lag(5, minutes(6)), None, silent, ALIVE), letters=letters))
    assert [(problem.kind, problem.grave) for problem in found] == [
        ("dead_consumer_holds", True),
        ("dead_letters", True),
        ("behind", False),
    ]
    assert found[0].text == "pod-1 is dead for 3m00s and holds 2 entries"


def test_living_consumers_that_lack_a_handler_of_their_group_are_named() -> None:
    def living(name: str, *types: str) -> ConsumerState:
        return replace(ALIVE, name=name, handles=frozenset(types))

    told = [living("new", "a.b", "c.d"), living("old-1", "a.b"), living("old-2", "a.b")]
    silent = [replace(ALIVE, name="unknown"), replace(living("dead", "e.f"), alive=False)]
    [problem] = of_streams(stream(group(NO_LAG, None, *told, *silent)))
    assert (problem.kind, problem.grave) == ("handlers_differ", True)
    assert problem.text == (
        "no handler for c.d in old-1, old-2, but in others of the group: such events are acknowledged unseen"
    )
    assert of_streams(stream(group(NO_LAG, None, *told[1:], *silent))) == []


def test_a_stream_of_which_only_groups_or_letters_are_left_is_a_problem() -> None:
    [problem] = of_streams(replace(stream(), exists=False, length=0))
    assert (problem.kind, problem.grave) == ("not_there", False)
