"""What runs inside the pods: Redis's start and probes, and `helm test`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.ports import free_port
from tests.deploy import rendering
from tests.deploy.answering import serving
from tests.deploy.rendering import SERVICES, of_kind, only, rendered

PASSWORD = 'a "quoted" \\ pass\'word $HOME'


class Files:
    """The chart's scripts with their paths under a folder of the test's."""

    def __init__(self, root: Path, case: str) -> None:
        self.root = root
        data = next(each["data"] for each in of_kind(rendered(case), "ConfigMap") if "redis.conf" in each["data"])
        for folder in ("etc/redis", "run/redis", "run/secrets/redis", "data", "bin"):
            (root / folder).mkdir(parents=True)
        (root / "run/secrets/redis/password").write_text(PASSWORD + "\n")
        for name, text in data.items():
            moved = re.sub(r" (/(etc/redis|run/redis|run/secrets/redis|data)\b)", rf" {root}\1", text)
            (root / "etc/redis" / name).write_text(moved)

    def program(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        command = ["sh", str(self.root / "etc/redis" / name)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=20)


ANSWERS = [
    ("PONG", 0, 0),
    ("LOADING Redis is loading the dataset in memory", 0, 1),
    ("BUSY Redis is busy running a script.", 0, 1),
    ("MASTERDOWN Link with MASTER is down", 0, 1),
    ("NOAUTH Authentication required.", 1, 1),
    ("AUTH failed: WRONGPASS invalid username-password pair\nNOAUTH Authentication required.", 1, 1),
    ("Could not connect to Redis at 127.0.0.1:6379: Connection refused", 1, 1),
    ("", 1, 1),
]


@pytest.mark.parametrize(("answer", "alive", "ready"), ANSWERS, ids=[each[0].split(" ")[0] for each in ANSWERS])
def test_probes_judge_by_the_answer(tmp_path: Path, answer: str, alive: int, ready: int) -> None:
    files = Files(tmp_path, "default")
    (tmp_path / "answer").write_text(answer)
    files.program(
        "redis-cli", f'cat "{tmp_path}/answer"; [ "$REDISCLI_AUTH" ] && [ "$*" = "-h 127.0.0.1 -p 6379 ping" ]'
    )
    for script, expected in (("alive.sh", alive), ("ready.sh", ready)):
        done = files.run(script)
        assert done.returncode == expected
        assert done.stderr.strip() == (answer if expected else ""), "events show what Redis said"
    assert files.run("ping.sh").returncode == 0, "the password is handed over, and the right port asked"


def test_redis_starts_with_the_password_as_a_digest(tmp_path: Path) -> None:
    files = Files(tmp_path, "plain")
    files.program("redis-server", 'echo "$@"; env')
    done = files.run("start.sh")
    assert done.stdout.splitlines()[0] == f"{tmp_path}/etc/redis/redis.conf"
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    assert (tmp_path / "run/redis/users.acl").read_text() == f"user default on #{digest} ~* &* +@all\n"
    assert PASSWORD not in done.stdout, "nor is it in the environment"


def test_redis_does_not_start_with_an_empty_password(tmp_path: Path) -> None:
    files = Files(tmp_path, "default")
    files.program("redis-server", "echo started")
    (tmp_path / "run/secrets/redis/password").write_text("\n")
    done = files.run("start.sh")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the password is empty\n")


def test_redis_does_not_start_without_its_list_of_users(tmp_path: Path) -> None:
    files = Files(tmp_path, "default")
    files.program("redis-server", "echo started")
    (tmp_path / "run/redis").rmdir()
    done = files.run("start.sh")
    assert done.returncode != 0
    assert done.stdout == ""


def test_redis_without_a_password_just_starts(tmp_path: Path) -> None:
    files = Files(tmp_path, "everything")
    files.program("redis-server", "echo started")
    files.program("redis-cli", '[ -z "$REDISCLI_AUTH" ] && [ "$*" = "-h 127.0.0.1 -p 6380 ping" ] && echo PONG')
    assert files.run("start.sh").stdout == "started\n"
    assert files.run("ready.sh").returncode == 0


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_a_real_redis_starts_answers_its_probes_and_refuses_strangers(tmp_path: Path) -> None:
    files = Files(tmp_path, "plain")
    port = free_port()
    for name in ("redis.conf", "ping.sh"):
        path = tmp_path / "etc/redis" / name
        path.write_text(path.read_text().replace("6379", str(port)))
    environment = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    server = subprocess.Popen(["sh", str(tmp_path / "etc/redis/start.sh")], env=environment, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        while b"Ready to accept" not in (line := server.stdout.readline()):
            assert line, "Redis ended before it was ready"
        assert files.run("ready.sh").returncode == 0
        assert files.run("alive.sh").returncode == 0
        (tmp_path / "run/secrets/redis/password").write_text("wrong")
        done = files.run("alive.sh")
        assert done.returncode == 1
        assert "NOAUTH" in done.stderr
        (tmp_path / "run/secrets/redis/password").write_text(PASSWORD)
        policy = subprocess.run(
            ["redis-cli", "-p", str(port), "config", "get", "maxmemory-policy"],
            env=os.environ | {"REDISCLI_AUTH": PASSWORD},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "noeviction" in policy.stdout
    finally:
        server.terminate()
        assert server.wait(20) == 0
        if server.stdout is not None:
            server.stdout.close()
    assert list((tmp_path / "data").glob("appendonlydir/*.aof"))


class Shop:
    """All three services, answering as the contract says, or not."""

    def __init__(self) -> None:
        self.status, self.kinds, self.stock, self.broken = "confirmed", ["order_confirmed"], [1, 0], ""
        self.url = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self.broken and path.startswith(self.broken):
            return 500, {"title": "broken"}
        if path == "/readyz":
            return 200, {}
        if path.startswith("/stock"):
            if method == "PUT":
                assert body == {"available": 1}
            return 200, {"productId": path[7:], "available": self.stock[0], "reserved": self.stock[1]}
        if path == "/orders":
            assert body["items"][0]["quantity"] == 1
            self.stock = [0, 1]
            return 202, {"id": "7", "status": "processing"}
        if path == "/orders/7/cancel":
            self.stock = [1, 0]
            return 202, {"id": "7", "status": "cancelled"}
        if path == "/orders/7":
            return 200, {"id": "7", "status": self.status}
        assert path == "/notifications?orderId=7"
        return 200, {"notifications": [{"kind": kind} for kind in self.kinds]}


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    with serving(shop.answer) as shop.url:
        yield shop


MANAGEMENT_URLS = [f"{name.upper()}_MANAGEMENT_URL" for name in SERVICES]


def helm_test(case: str, url: str, seconds: str = "5", **more: str) -> subprocess.CompletedProcess[str]:
    [own] = only(rendered(case), "Pod")["spec"]["containers"]
    variables = {each["name"]: url if each["name"].endswith("_URL") else seconds for each in own["env"]}
    command = [sys.executable, "-I", *own["command"][1:], *own["args"]]
    environment = {"PATH": os.environ["PATH"], **variables, **more}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=30)


def test_helm_test_follows_one_order_through_all_services(shop: Shop) -> None:
    done = helm_test("default", shop.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "order is ready",
        "inventory is ready",
        "notification is ready",
        "order 7 is accepted",
        "it is confirmed",
        "its stock is reserved",
        "its customer is told",
        "it is cancelled, its stock given back",
    ]


def test_helm_test_says_which_step_was_never_done(shop: Shop) -> None:
    shop.kinds = []
    done = helm_test("default", shop.url, "0.5")
    assert done.returncode == 1
    assert "its customer is told: not so when the time was up" in done.stderr


def test_helm_test_says_what_broke(shop: Shop) -> None:
    shop.broken = "/orders"
    done = helm_test("default", shop.url)
    assert done.returncode == 1
    assert "POST" in done.stderr
    assert "500" in done.stderr


def test_helm_test_asks_a_lone_service_whether_it_is_ready(shop: Shop) -> None:
    done = helm_test("inventory-only", shop.url)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "inventory is ready")
    assert helm_test("inventory-only", "http://127.0.0.1:1", "0.1").returncode == 1


def test_helm_test_sends_no_order_where_tokens_are_asked_for(shop: Shop) -> None:
    done = helm_test("management", shop.url)
    assert done.returncode == 0, done.stderr
    *ready, last = done.stdout.splitlines()
    assert ready == ["order is ready", "inventory is ready", "notification is ready"]
    assert last.startswith("this test has no tokens, which order, inventory, notification would ask for")


def test_helm_test_asks_at_the_management_port_who_is_ready(shop: Shop) -> None:
    nowhere = "http://127.0.0.1:1"
    done = helm_test("management", shop.url, "0.1", ORDER_MANAGEMENT_URL=nowhere)
    assert done.returncode == 1
    assert f"GET {nowhere}/readyz" in done.stderr
    assert helm_test("management", nowhere, **dict.fromkeys(MANAGEMENT_URLS, shop.url)).returncode == 0


def test_dashboards_are_json_that_grafana_takes() -> None:
    for path in (rendering.CHART / "dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        assert dashboard["uid"]
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
