"""Redis users by the code's own needs: what the rights are read from, and what each user may and may not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventcore
from eventcore.commit.durability import Durability
from eventcore.commit.transaction import Hash, SortedSet, String
from eventcore.operate.access import CONSOLE, LOOK_COMMANDS, LOOKER, OPERATOR, Activity, escaped_pattern, users
from eventcore.server.script_needs import commands_by_key
from eventcore.testing import Server

from .tool import append, append_letter, client, fill, one_line, run

SOURCES = Path(eventcore.__file__).parent
SCRIPTS = sorted(path.stem for path in (SOURCES / "lua").glob("*.lua"))
# Their keys are chosen by who calls them, or stand in no KEYS.
BY_ARGUMENT = {"commit", "missing", "rights"}
SHOP = (
    Activity("seller", {"seller-group": ["stock_stream"]}, frozenset({"orders_stream"}), (Hash("order:*"),)),
    Activity(
        "keeper",
        {"inventory-group": ["orders_stream"]},
        frozenset({"stock_stream"}),
        (Hash("stock"), SortedSet("stock:index"), String("seen:*")),
    ),
)


@pytest.fixture
def shop(redis_server: Server) -> Iterator[Server]:
    """A server with the users of two services, who log in by their own names."""
    made = users(SHOP)
    with client(redis_server) as connected:
        for user in made:
            connected.execute_command("ACL", "SETUSER", user.name, "on", f">{user.name}", *user.rules.split())
        yield redis_server
        connected.execute_command("ACL", "DELUSER", *(user.name for user in made))


def login(server: Server, user: str) -> str:
    return server.url.replace("//", f"//{user}:{user}@")


def allowed(server: Server, user: str, *command: str) -> bool:
    """Whether the user might run this now; nothing is run."""
    with client(server) as connected:
        answer = connected.execute_command("ACL", "DRYRUN", user, *command)
    return bool(answer in (b"OK", "OK", True))


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each not in BY_ARGUMENT])
def test_all_that_a_script_calls_is_read_from_it(script: str) -> None:
    text = (SOURCES / "lua" / f"{script}.lua").read_text()
    called = re.findall(r"p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", text)
    known = {command for commands in commands_by_key(script).values() for command in commands}
    assert {f"{command}|{sub}".strip("|").lower() for command, sub in called} - {"time"} <= known


def test_all_that_the_tool_asks_while_it_looks_is_what_looking_is_made_of() -> None:
    looking = [*SOURCES.glob("operate/inspection/*.py"), *SOURCES.glob("cli/*.py"), SOURCES / "operate/dead_letters.py"]
    text = "".join(path.read_text() for path in looking if path.name != "publish.py")
    called = {name.replace("_range", "").replace("_iter", "") for name in re.findall(r"\bredis\.([a-z_]+)\(", text)}
    names = {re.sub(r"^(xinfo|memory|config)_", r"\1|", name) for name in called}
    elsewhere = {"aclose", "eval", "info", "scan", "time", "config|get", "xdel"}
    assert names - elsewhere <= LOOK_COMMANDS


def test_what_commits_do_to_records_is_among_the_rights_to_their_types(shop: Server) -> None:
    words = re.findall(r"'([A-Z]+(?: [A-Z]+)*)'", (SOURCES / "lua" / "commit.lua").read_text())
    commands = {name for each in words for name in each.split() if not name.startswith("X")}
    places = {"H": "stock", "Z": "stock:index", "G": "seen:1", "S": "seen:1"}
    arguments = {"HSET": ["f", "v"], "HMGET": ["f"], "ZADD": ["1", "m"], "ZREM": ["m"], "SET": ["v"], "PEXPIRE": ["1"]}
    for name in sorted(commands):
        assert allowed(shop, "keeper", name, places.get(name[0], "stock"), *arguments.get(name, [])), name


@pytest.mark.parametrize(
    "command",
    [
        ["HSET", "stock", "f", "1"],
        ["HGET", "stock", "f"],
        ["DEL", "stock"],
        ["XADD", "stock_stream", "*", "event", "{}"],
        ["XDEL", "stock_stream", "1-0"],
        ["DEL", "stock_stream"],
        ["XADD", "stock_dlq:other", "*", "event", "{}"],
        ["XREADGROUP", "GROUP", "inventory-group", "x", "STREAMS", "orders_stream", ">"],
        ["XACK", "orders_stream", "inventory-group", "1-0"],
        ["XADD", "orders_stream:inventory-group:retry", "*", "event", "{}"],
        ["ZADD", "orders_stream:inventory-group:beats", "1", "x"],
        ["EVAL", "return 1", "0"],
        ["EVALSHA", "0", "1", "stock"],
        ["XGROUP", "DESTROY", "stock_stream", "seller-group"],
        ["CONFIG", "GET", "*"],
        ["CONFIG", "SET", "maxmemory", "1"],
        ["ACL", "LIST"],
        ["FLUSHALL"],
        ["FLUSHDB"],
        ["KEYS", "*"],
        ["SCAN", "0"],
        ["DEBUG", "SLEEP", "1"],
        ["SHUTDOWN"],
        ["MONITOR"],
        ["CLIENT", "KILL", "ID", "1"],
        ["CLIENT", "LIST"],
        ["SCRIPT", "FLUSH"],
        ["FUNCTION", "LIST"],
        ["PUBLISH", "channel", "x"],
        ["SUBSCRIBE", "channel"],
        ["SWAPDB", "0", "1"],
        ["REPLICAOF", "NO", "ONE"],
    ],
    ids=" ".join,
)
def test_a_service_may_not_touch_what_is_others(shop: Server, command: list[str]) -> None:
    assert not allowed(shop, "seller", *command)


def test_a_service_may_do_what_is_its_own(shop: Server) -> None:
    both = ["stock_stream", "stock_stream:seller-group:retry"]
    for command in (
        ["XREADGROUP", "GROUP", "seller-group", "x", "STREAMS", *both, ">", ">"],
        ["XACK", "stock_stream", "seller-group", "1-0"],
        ["XADD", "orders_stream", "*", "event", "{}"],
        ["XADD", "stock_dlq", "*", "event", "{}"],
        ["HSET", "order:1", "status", "confirmed"],
        ["EVALSHA", "0", "3", "stock_stream", "order:1", "orders_stream"],
    ):
        assert allowed(shop, "seller", *command), command


def test_rights_that_only_some_settings_need_are_given_for_those_alone() -> None:
    plain, durable, dropping = (
        users([Activity("a", {"g": ["s"]}, **more)])[0].rules
        for more in ({}, {"durability": Durability.DISK}, {"drops_groups": True})
    )
    assert "+waitaof" in durable
    assert "+waitaof" not in plain
    assert "+xgroup|destroy" in dropping
    assert "+xgroup|destroy" not in plain


def test_names_with_signs_of_patterns_mean_themselves(redis_server: Server) -> None:
    [user, *_] = users([Activity("odd", {"a[b]*": ["s?"]}, keeps=(Hash("k\\:*"),))], prefix="{x}*:")
    with client(redis_server) as connected:
        connected.execute_command("ACL", "SETUSER", "odd", "on", "nopass", *user.rules.split())
    assert allowed(redis_server, "odd", "XACK", "{x}*:s?", "a[b]*", "1-0")
    assert not allowed(redis_server, "odd", "XACK", "{x}y:s?", "a[b]*", "1-0")
    assert not allowed(redis_server, "odd", "XACK", "{x}*:st", "a[b]*", "1-0")
    assert allowed(redis_server, "odd", "HSET", "{x}*:k\\:1", "f", "v")
    with client(redis_server) as connected:
        connected.execute_command("ACL", "DELUSER", "odd")
    assert escaped_pattern("a b") == "a?b"


def test_who_may_only_look_can_use_all_that_looks_and_nothing_that_writes(shop: Server) -> None:
    with client(shop) as connected:
        fill(connected)
        append(connected, "stock_stream")
        letter = append_letter(connected)
    env = {"REDIS_URL": login(shop, LOOKER)}
    for looking in (
        ["status"],
        ["status", "--json"],
        ["tail", "orders_stream", "--json"],
        ["pending", "orders_stream"],
        ["trace", "order-1"],
        ["dlq", "list", "orders_stream"],
        ["dlq", "show", "orders_stream", "--id", letter],
    ):
        run(None, *looking, env=env)
    for writing in (
        ["dlq", "redrive", "orders_stream", "--all"],
        ["dlq", "purge", "orders_stream", "--all", "--yes"],
        ["replay", "orders_stream", "--group", "inventory-group", "--from", "0-0"],
        ["publish", "orders_stream", "order.created", "{}"],
    ):
        assert "ermission" in one_line(run(None, *writing, env=env, status=1).stderr)
    for command in (["XADD", "orders_stream", "*", "a", "b"], ["DEL", "orders_stream"], ["HGET", "stock", "f"]):
        assert not allowed(shop, LOOKER, *command)


@pytest.mark.parametrize("user", [OPERATOR, CONSOLE])
def test_the_operator_and_a_console_may_redrive_replay_and_nothing_else(shop: Server, user: str) -> None:
    with client(shop) as connected:
        fill(connected)
        env = {"REDIS_URL": login(shop, user)}
        run(None, "status", env=env)
        run(None, "dlq", "redrive", "orders_stream", "--all", env=env)
        assert connected.xlen("orders_stream:inventory-group:retry") == 1
        connected.xgroup_destroy("orders_stream", "inventory-group")
        connected.xgroup_create("orders_stream", "inventory-group", "$")
        run(None, "replay", "orders_stream", "--group", "inventory-group", "--from", "0-0", env=env)
        assert connected.xlen("orders_stream:inventory-group:retry") == 3
        append_letter(connected)
        run(None, "dlq", "purge", "orders_stream", "--all", "--yes", env=env)
        assert connected.xlen("orders_dlq") == 0
    for command in (
        ["XADD", "orders_stream", "*", "a", "b"],
        ["HSET", "stock", "f", "1"],
        ["XTRIM", "orders_stream", "MAXLEN", "0"],
    ):
        assert not allowed(shop, user, *command)
