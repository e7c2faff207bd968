"""The demo as people run it: `python -m demo` and `python -m demo up`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.options import Options
from demo.ports import choose_ports

ROOT = Path(__file__).parents[2]
NORTHWIND = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data")) / "northwind"
SECONDS = 150.0  # on a busy machine

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(2 * SECONDS)]


@pytest.fixture(autouse=True)
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its temporary directory."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def surroundings(**settings: str) -> dict[str, str]:
    """Our environment with these settings of the demo and no others."""
    settings_of_the_demo = {"PRODUCTS", "ORDERS", "BASKETS", "COUNT", "INVENTORY_REPLICAS"}
    kept = {name: value for name, value in os.environ.items() if name not in settings_of_the_demo}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings}


def demo(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env=surroundings(**settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process, ended afterwards whatever happens."""
    with subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env=surroundings(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that Ctrl-C can be sent as a terminal does: to the whole process group
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def free_ports() -> dict[str, str]:
    """Settings for `up`, which would else take the default ports."""
    return {f"{service.upper()}_LISTEN": str(port) for service, port in choose_ports(Options()).items()}


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it has said, up to the line with this text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without saying {text!r}:\n{said}")


def listeners(said: str) -> list[tuple[str, int]]:
    """The addresses of services and server in what the demo has said."""
    urls = map(urlsplit, re.findall(r"(?:http|redis)://[\d.:]+", said))
    return sorted({(url.hostname or "", url.port or 0) for url in urls})


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_small_demo_shows_what_happened_and_finds_everything_as_it_should_be(left_behind: Path) -> None:
    done = demo(COUNT="100")
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        "100 generated orders",
        "out_of_stock",
        "orders turned away",
        "order.created",
        "inventory.reserved",
        "inventory.rejected",
        "notification-group",
        "orders/s",
        "p99",
        "One order's story",
        "caused by",
        "100 of 100 answered 202",
        "100 of 100, in the order of orders_stream",
        "lag 0, pending 0, dead letters 0",
        "All is as it should be.",
    ):
        assert text in done.stdout
    assert "✗" not in done.stdout
    assert done.stderr == ""
    assert not list(left_behind.iterdir())
    assert len(listeners(done.stdout)) == 4
    assert all(map(refuses, listeners(done.stdout)))


@pytest.mark.skipif(not NORTHWIND.exists(), reason="no Northwind files: SHARED_DATA names the folder they are in")
def test_northwind_in_file_order_ends_as_served_one_after_another() -> None:
    done = demo(PRODUCTS=f"{NORTHWIND / 'products.csv'}", ORDERS=f"{NORTHWIND / 'order-details.csv'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "830 orders of order-details.csv  one after another, in file order" in done.stdout
    assert "830 events, in file order" in done.stdout
    assert "95 confirmed + 735 rejected, 0 processing" in done.stdout
    assert "830 of 830, in the order of orders_stream" in done.stdout


def test_baskets_are_split_where_they_must_and_served_by_two_inventory_processes(tmp_path: Path) -> None:
    baskets = tmp_path / "baskets.csv"
    baskets.write_text("a,b\n" * 20 + ",".join(f"c{number}" for number in range(150)) + "\nBANK CHARGES\n")
    done = demo(BASKETS=str(baskets), INVENTORY_REPLICAS="2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "22 baskets, 1 over 100 items split into 2 orders: line 21 of 150" in done.stdout
    assert "inventory service 2" in done.stdout
    assert "23 of 23, in the order of inventory_stream" in done.stdout


@pytest.mark.parametrize(
    ("command", "orders", "after"),
    [((), "20000", "Valkey"), ((), "20000", "catalogue"), (("up",), "", "until Ctrl-C")],
    ids=["starting", "replaying", "up"],
)
def test_ctrl_c_stops_everything_and_removes_it(
    command: tuple[str, ...], orders: str, after: str, left_behind: Path
) -> None:
    with running(*command, COUNT=orders, **free_ports()) as process:
        said = read_until(process, after)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 128 + signal.SIGINT
    assert rest.endswith("Everything is stopped, data and logs are removed.\n")
    assert "Traceback" not in rest
    assert all(map(refuses, listeners(said)))
    assert not list(left_behind.iterdir())


def test_nothing_outlives_a_demo_that_is_killed() -> None:
    with running(COUNT="20000") as process:
        said = read_until(process, "catalogue")
        addresses = listeners(said)
        assert len(addresses) == 4
        connections = [socket.create_connection(address, timeout=SECONDS) for address in addresses]
        process.kill()
        for connection in connections:
            with connection, suppress(ConnectionResetError):
                assert connection.recv(1) == b""  # closed by its end, and by nothing else


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl"))), reason="pasting takes bash and curl")
def test_up_replays_what_it_is_told_and_stays_up_and_what_it_shows_can_be_pasted() -> None:
    ports = free_ports()
    with running("up", COUNT="20", **ports) as process:
        said = read_until(process, "until Ctrl-C")
        assert "20 of 20, in the order of orders_stream" in said
        assert f"http://127.0.0.1:{ports['ORDER_LISTEN']}  /docs  /openapi.json  /metrics  /readyz" in said
        script = said[said.index("curl") : said.index("Traces, metrics, logs")]
        script = script.replace(".venv/bin/eventcore", f"'{sys.executable}' -m eventcore")
        pasted = subprocess.run(
            ["bash", "-e"], input=script, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert pasted.returncode == 0, pasted.stdout + pasted.stderr
        answers = pasted.stdout.splitlines()
        assert answers[0] == '{"productId":"11","available":39,"reserved":0}'
        assert '"items":[{"productId":"11","quantity":12}],"customerId":"VINET"' in answers[1]
        assert answers[2].startswith('{"notifications":[')
        assert answers[3].startswith('{"productId":"11","available":')
        assert answers[4].endswith('"status":"cancelled"}')
        assert "inventory-group" in pasted.stdout

        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in rest
    assert all(map(refuses, listeners(said)))


def test_a_port_that_is_taken_is_said_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo("up", ORDER_LISTEN=f"{port}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"demo: port {port} of the order service is taken by ")
    assert done.stderr.count("\n") == 1


def test_a_service_that_does_not_start_says_why(left_behind: Path) -> None:
    done = demo(LOG_LEVEL="LOUD")
    assert done.returncode == 1
    assert re.search(r"✗ the \w+ service ended with status \d; the end of its log:\n.*LOG_LEVEL", done.stdout)
    [directory] = left_behind.iterdir()
    assert f"Logs and data are kept in {directory}" in done.stdout


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"COUNT": "many"}, "COUNT: 'many' is not a whole number from 1 to 200,000"),
        ({"PRODUCTS": "nowhere.csv", "ORDERS": "nowhere.csv"}, "nowhere.csv: there is no such file"),
        ({"BASKETS": "README.md/nowhere"}, "can't be read"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(settings: dict[str, str], complaint: str) -> None:
    done = demo(**settings)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("demo: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_names_the_settings() -> None:
    done = demo("--help")
    assert done.returncode == 0
    assert "PRODUCTS and ORDERS" in done.stdout
