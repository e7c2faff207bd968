"""What the README shows is run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep

import pytest
import redis

from contracts import InventoryReserved, Line, OrderCreated
from demo.ports import free_port
from eventcore import Origin, Transaction, encode, publish
from eventcore.testing.server import Server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SERVICE, RULE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def test_the_whole_service_runs_handles_an_event_and_stops_cleanly(server: Server, tmp_path: Path) -> None:
    program = tmp_path / "loyalty.py"
    program.write_text(SERVICE)
    port = free_port()
    environment = {**os.environ, "REDIS_URL": server.url, "PORT": str(port), "HOST": "127.0.0.1"}
    client = redis.Redis.from_url(server.url)
    event = InventoryReserved(order_id="1", items=(Line(product_id="11", quantity=12),), customer_id="VINET")
    client.xadd(event.stream, {"event": encode(event, Origin.new("test"))})
    with subprocess.Popen([sys.executable, program], env=environment) as process:
        try:
            until(lambda: client.hget("loyalty:points", "VINET") == b"12", process)
            until(lambda: is_ready(port), process)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert client.xpending(event.stream, "loyalty-group")["pending"] == 0
    client.close()


def test_the_rule_decides_without_a_server() -> None:
    names: dict[str, Callable[[OrderCreated], Transaction]] = {}
    exec(RULE, names)  # noqa: S102 - our own README
    order = OrderCreated(order_id="1", items=(Line(product_id="11", quantity=12),))
    transaction = names["reserve"](order)
    assert publish(InventoryReserved(order_id="1", items=order.items)) in transaction.then
    assert [str(guard) for guard in transaction.when] == ["stock[11] at least 12"]


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)$", README, re.MULTILINE))
def test_the_commands_are_targets_of_make(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def is_ready(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def until(holds: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Wait for a condition, as long as the program lives."""
    deadline = monotonic() + seconds
    while not holds():
        assert process.poll() is None, "the service has ended"
        assert monotonic() < deadline, "not in time"
        sleep(0.02)
