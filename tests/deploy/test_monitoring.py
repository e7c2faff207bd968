"""Every metric and label that alerts and dashboards name is there when the running services are scraped."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from demo.ports import free_port
from demo.processes import Child
from eventcore.testing import Server
from scripts import metrics_table
from scripts.dashboards import generated
from scripts.metrics_table import instruments, prometheus_name
from tests.deploy.monitoring import FROM_PROMETHEUS, Asked, dashboards, queries
from tests.deploy.rendering import SERVICES

pytestmark = [pytest.mark.xdist_group("scrape"), pytest.mark.timeout(150)]

SECONDS = 45
ASKED = tuple(queries())
LISTED = {prometheus_name(each) for each in instruments()}

# A label with one of its values, and None for any: {(metric, label): values}.
Seen = dict[tuple[str, str], set[str]]


class Shop:
    """The three services as processes, and what they have ever been scraped for."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports
        self.seen: Seen = {}
        self.metrics: set[str] = set()

    def ask(self, method: str, service: str, path: str, body: str | None = None) -> str:
        """The body of the answer. Raises `OSError` where there is none, or one that says no."""
        with closing(HTTPConnection("127.0.0.1", self._ports[service], timeout=SECONDS)) as connection:
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            if response.status >= 400:
                raise OSError(f"{method} {path}: {response.status}")
            return response.read().decode()

    def send(self, method: str, service: str, path: str, body: Any) -> Any:
        return json.loads(self.ask(method, service, path, json.dumps(body)))

    def scrape(self) -> None:
        for service in SERVICES:
            for family in text_string_to_metric_families(self.ask("GET", service, "/metrics")):
                for sample in family.samples:
                    self.metrics.add(sample.name)
                    for label, value in sample.labels.items():
                        self.seen.setdefault((sample.name, label), set()).add(value)

    def lacks(self, asked: Asked) -> list[str]:
        """What a query names and nobody exports."""
        missing = [each.metric for each in asked.selectors if each.metric not in self.metrics]
        for metric, labels in asked.selectors:
            for label, value in labels:
                values = self.seen.get((metric, label), set())
                if label not in FROM_PROMETHEUS and (not values or (value is not None and value not in values)):
                    missing.append(f"{metric}{{{label}={value or ''}}}")
        metrics = [each.metric for each in asked.selectors]
        unknown = [label for label in asked.grouping if not any((metric, label) in self.seen for metric in metrics)]
        return missing + [f"label {label}" for label in unknown if label not in FROM_PROMETHEUS]

    @property
    def exported(self) -> set[str]:
        """What it has measured itself, a histogram by its one name."""
        ours = {name for name in self.metrics if not name.endswith("_created")} - {"target_info"}
        return {re.sub("_(bucket|count|sum)$", "", name) for name in ours}

    def is_ready(self, service: str) -> bool:
        try:
            self.ask("GET", service, "/readyz")
        except OSError:
            return False
        return True


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop in which everything has happened that is counted: confirmed, refused, given up, failed and tried again."""
    folder = tmp_path_factory.mktemp("scrape")
    with Server(append_only=True, maxmemory="256mb") as server, ExitStack() as stack:
        ports = {name: free_port() for name in SERVICES}
        shop = Shop(ports)
        for name, port in ports.items():
            settings = {"REDIS_URL": server.url, "HOST": "127.0.0.1", "PORT": str(port), "LOG_FORMAT": "console"}
            nobody = {"WEBHOOK_URL": "http://127.0.0.1:9/", "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
            child = Child(name, f"{name}_service", {**settings, **nobody}, folder / f"{name}.log")
            stack.callback(child.kill)
        wait_for(lambda: all(map(shop.is_ready, SERVICES)))
        shop.send("PUT", "inventory", "/stock", {"levels": [{"productId": "11", "available": 5}]})
        for quantity in (1, 1000):
            shop.send("POST", "order", "/orders", {"items": [{"productId": "11", "quantity": quantity}]})
        with redis.Redis.from_url(server.url) as connected:
            connected.xadd("orders_stream", {"event": "nonsense"})
        deadline = time.monotonic() + SECONDS
        while (any(map(shop.lacks, ASKED)) or LISTED - shop.exported) and time.monotonic() < deadline:
            shop.scrape()
            time.sleep(0.1)
        yield shop


def test_everything_that_is_asked_for_is_exported(shop: Shop) -> None:
    lacking = {f"{asked.where}: {asked.expr}": missing for asked in ASKED if (missing := shop.lacks(asked))}
    assert lacking == {}


def test_the_table_of_metrics_has_what_is_exported_and_nothing_else(shop: Shop) -> None:
    assert shop.exported == LISTED


def test_the_table_of_metrics_is_up_to_date() -> None:
    for path, text in metrics_table.generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} differs: run scripts/render-manifests"


def test_attributes_are_those_of_the_table(shop: Shop) -> None:
    for each in instruments():
        known = {re.sub(r"\W", "_", name) for name in (*each.attributes, *each.constant)}
        name = prometheus_name(each) + ("_count" if each.kind == "histogram" else "")
        assert {label for metric, label in shop.seen if metric == name} <= known, name


def test_what_is_shown_of_an_answer_is_in_it() -> None:
    for asked in ASKED:
        assert asked.shown <= asked.grouping, asked


def test_queries_are_about_one_shop_and_written_so_that_they_can_be_checked() -> None:
    assert len(ASKED) > 70
    for asked in ASKED:
        assert asked.strays == set(), asked
        assert asked.selectors, asked
        for metric, labels in asked.selectors:
            if "label_values" not in asked.expr:
                assert {label for label, _ in labels} >= FROM_PROMETHEUS, f"{metric} of other shops in {asked.expr}"


def test_what_is_not_exported_would_be_noticed(shop: Shop) -> None:
    def lacks(expr: str) -> list[str]:
        return shop.lacks(Asked("", expr, frozenset()))

    assert lacks('sum by (no_label) (eventcore_lag{pod="x"})') == ["label no_label"]
    assert lacks('no_metric{pod="x"}') == ["no_metric"]
    assert lacks('eventcore_lag{reason=~"x"}') == ["eventcore_lag{reason=}"]
    assert lacks('messaging_process_duration_seconds_count{eventcore_outcome="lost"}') == [
        "messaging_process_duration_seconds_count{eventcore_outcome=lost}"
    ]


def test_the_dashboards_are_what_the_list_of_panels_gives() -> None:
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} differs: run scripts/render-manifests"
    assert {path.name for path in generated()} == {path.name for path in path.parent.glob("*.json")}


def test_panels_stand_beside_each_other_and_not_on_top() -> None:
    for name, dashboard in dashboards().items():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            x, y, width, height = (panel["gridPos"][each] for each in "xywh")
            cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            assert x + width <= 24, name
            assert not cells & taken, f"{panel['title']} of {name} hides another"
            taken |= cells
