"""Redis users of the chart: each service has its own, with the rules that its code gives and no other's password."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from demo.ports import free_port
from eventcore.cli.acl import rules_of
from scripts import redis_users
from tests.deploy.rendering import SERVICES, case, environment, of_kind, only, pods, render, render_text, rendered

PASSWORD = "with 'quotes' and \\ "
PROGRAMS = [f"{service}_service" for service in SERVICES]
PREFIX = "{shop}:"


def scripts(values: dict[str, Any]) -> dict[str, str]:
    """What stands in Redis's folder of configuration."""
    maps = [each["data"] for each in of_kind(render(values), "ConfigMap")]
    data: dict[str, str] = next(each for each in maps if "redis.conf" in each)
    return data


def users(values: dict[str, Any]) -> dict[str, str]:
    """The rules of all users, by name."""
    lines = scripts(values)["users.txt"].splitlines()
    return {name: rules for name, _, rules in (line.partition(" ") for line in lines)}


def test_without_users_of_their_own_nothing_is_different() -> None:
    off = {"redis": {"acl": {"enabled": False, "existingSecret": "unused", "keepDefaultUser": True}}}
    plain = render_text(case("plain"))
    assert render_text(case("plain") | off) == plain
    assert "acl" not in str(plain["deployment.yaml"])


@pytest.mark.parametrize("off", [{"auth": {"enabled": False}}, {"enabled": False}])
def test_where_no_password_is_asked_for_or_redis_is_elsewhere_there_are_no_users(off: dict[str, Any]) -> None:
    elsewhere = {"externalRedis": {"url": "redis://elsewhere:6379/0"}} if "enabled" in off else {}
    assert environment(render({"redis": off, **elsewhere}), "order")["REDIS_URL"].count("@") == 0


def test_the_rules_are_those_of_the_code() -> None:
    for path, text in redis_users.generated().items():
        assert path.read_text() == text, "run scripts/render-manifests"
    assert users({"keyPrefix": PREFIX, "redis": {"acl": {"enabled": True}}}) == rules_of(PROGRAMS, prefix=PREFIX)


def test_a_prefix_with_signs_of_patterns_means_itself() -> None:
    prefix = "a*[b]?\\(c):"
    assert users({"keyPrefix": prefix, "redis": {"acl": {"enabled": True}}}) == rules_of(PROGRAMS, prefix=prefix)


@pytest.mark.parametrize(("durability", "right"), [("disk", "+waitaof"), ("replica", "+wait ")])
def test_orders_that_wait_to_be_durable_may_wait(durability: str, right: str) -> None:
    values = {
        "redis": {"acl": {"enabled": True}},
        "services": {"order": {"settings": {"ORDER_DURABILITY": durability}}},
    }
    assert right in users(values)["order-service"]
    assert right not in users({"redis": {"acl": {"enabled": True}}})["order-service"]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("acl", "redis://{}@shop-redis:6379/0"),
        ("default", "redis://{}@shop-redis:6379/0"),
        ("acl-external", "rediss://{}@redis.example.com:6380/1"),
    ],
)
def test_each_service_logs_in_as_itself_and_sees_no_other_password(name: str, url: str) -> None:
    manifests = rendered(name)
    for service in SERVICES:
        told = environment(manifests, service)
        assert told["REDIS_URL"] == url.format(f"{service}-service")
        assert told["REDIS_PASSWORD_FILE"] == "/run/secrets/redis/password"
    for pod, _, spec in pods(manifests):
        items = [each["secret"].get("items") for each in spec.get("volumes", []) if "secret" in each]
        keys = [item["key"] for each in items for item in each or []]
        service = pod.removeprefix("shop-")
        assert keys == ([f"{service}-service"] if service in SERVICES else ["password"] if service == "redis" else [])


@pytest.mark.parametrize("name", ["acl", "acl-external"])
def test_keda_looks_as_the_user_who_may_only_look(name: str) -> None:
    manifests = rendered(name)
    for each in of_kind(manifests, "ScaledObject"):
        assert {trigger["metadata"]["username"] for trigger in each["spec"]["triggers"]} == {"eventcore-look"}
    [password, *_] = only(manifests, "TriggerAuthentication")["spec"]["secretTargetRef"]
    assert password == {"parameter": "password", "name": "shop-redis-users", "key": "eventcore-look"}


def test_without_a_cluster_no_password_is_made_up_so_that_two_renderings_are_equal() -> None:
    values = {"redis": {"acl": {"enabled": True}}}
    assert of_kind(render(values), "Secret") == []
    assert render_text(values) == render_text(values)


@contextmanager
def running(root: Path, values: dict[str, Any]) -> Iterator[int]:
    """Redis as the chart starts it, on a free port; each user's password is PASSWORD and the name."""
    for folder in ("etc/redis", "run/redis", "run/secrets/redis", "run/secrets/redis-users", "data"):
        (root / folder).mkdir(parents=True)
    (root / "run/secrets/redis/password").write_text(PASSWORD)
    for name in users(values):
        (root / "run/secrets/redis-users" / name).write_text(f"{PASSWORD}{name}\n")
    port = free_port()
    for name, text in scripts(values).items():
        moved = re.sub(r" (/(etc/redis|run/redis|run/secrets/redis|data)\b)", rf" {root}\1", text)
        (root / "etc/redis" / name).write_text(moved.replace("6379", str(port)))
    command = ["sh", str(root / "etc/redis/start.sh")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ)
    try:
        assert server.stdout is not None
        while b"Ready to accept" not in (line := server.stdout.readline()):
            assert line, "Redis ended before it was ready"
        yield port
    finally:
        server.terminate()
        server.communicate(timeout=20)


def login(port: int, user: str = "default") -> redis.Redis:
    password = PASSWORD if user == "default" else f"{PASSWORD}{user}"
    return redis.Redis(port=port, username=user, password=password)


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_a_real_redis_lets_users_in_and_the_default_user_only_ping(tmp_path: Path) -> None:
    with running(tmp_path, case("acl")) as port:
        probe = subprocess.run(["sh", str(tmp_path / "etc/redis/ready.sh")], capture_output=True, check=False)
        assert probe.returncode == 0, probe.stderr
        with login(port, "order-service") as service:
            service.xadd(f"{PREFIX}orders_stream", {"event": "{}"})
            with pytest.raises(redis.exceptions.NoPermissionError):
                service.hset(f"{PREFIX}stock", "11:available", "1")
        with login(port, "eventcore-look") as looker:
            assert looker.xlen(f"{PREFIX}orders_stream") == 1
        with login(port) as probe_user, pytest.raises(redis.exceptions.NoPermissionError):
            probe_user.xlen(f"{PREFIX}orders_stream")


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_while_pods_from_before_are_there_the_default_user_may_stay(tmp_path: Path) -> None:
    values = case("acl")
    values["redis"]["acl"]["keepDefaultUser"] = True
    with running(tmp_path, values) as port, login(port) as old_pod, login(port, "order-service") as service:
        assert old_pod.xadd(f"{PREFIX}orders_stream", {"event": "{}"})
        assert service.xlen(f"{PREFIX}orders_stream") == 1
