"""Streams, groups, ports and metrics: what scalers, alerts and dashboards name is what the code has."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventcore.telemetry import catalogue
from scripts.chart_reference import SERVICES
from tests.deploy import rendering
from tests.deploy.rendering import ROOT, of_kind, only, rendered

SOURCES = sorted(path for top in ("libs", "services") for path in ROOT.glob(f"{top}/*/src/**/*.py"))
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
UNITS = {"s": "_seconds", "ms": "_milliseconds", "By": "_bytes", "1": "_ratio"}


def instruments() -> Iterator[tuple[str, str, str]]:
    """Kind, name and unit of every instrument that the services have."""
    for name in SERVICES:
        importlib.import_module(f"{name}_service.app")
    for each in catalogue:
        yield each.kind, each.name, each.unit


@cache
def exported() -> set[str]:
    """The names under which Prometheus sees them."""
    names = {"up"}
    for kind, name, unit in instruments():
        base = re.sub(r"\W", "_", name)
        suffix = UNITS.get(unit, "")
        if unit == "1" and "gauge" not in kind:
            suffix = ""
        base += "" if base.endswith(suffix) else suffix
        endings = SUFFIXES.get(kind, [""])
        names |= {base.removesuffix("_total") + each for each in endings}
    return names


@cache
def attributes() -> set[str]:
    """All texts of the sources, as labels: attribute names are among them."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 60:
                found.add(re.sub(r"\W", "_", node.value))
    return found


def queries() -> list[str]:
    rule = only(rendered("monitoring"), "PrometheusRule")
    found = [each["expr"] for group in rule["spec"]["groups"] for each in group["rules"]]
    for config in of_kind(rendered("monitoring"), "ConfigMap"):
        for name, text in config["data"].items():
            if name.endswith(".json"):
                found += [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]
                found += [each["definition"] for each in json.loads(text)["templating"]["list"] if "definition" in each]
    return found


WORDS = {
    "sum",
    "by",
    "rate",
    "increase",
    "histogram_quantile",
    "le",
    "label_values",
    "max",
    "min",
    "and",
    "or",
    "on",
    "without",
    "clamp_min",
}


def test_the_sources_have_instruments() -> None:
    assert {"eventcore_dead_letters_total", "messaging_process_duration_seconds_bucket"} < exported()


@pytest.mark.parametrize("query", queries())
def test_every_query_asks_for_metrics_and_labels_that_the_code_has(query: str) -> None:
    plain = re.sub(r"\$__\w+|\[[^]]*\]", "", query)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", plain))
    for grouping in re.findall(r"by \(([^)]*)\)", plain):
        labels |= {each.strip() for each in grouping.split(",")}
    without = re.sub(r"by \([^)]*\)|\"[^\"]*\"", "", re.sub(r"\{[^}]*\}", "", plain))
    metrics = set(re.findall(r"[A-Za-z_]\w*", without)) - WORDS - {"namespace", "pod"}
    assert metrics
    assert metrics - exported() == set()
    assert labels - attributes() - {"namespace", "pod", "le"} == set()
    assert 'namespace="' in query or "label_values" in query, "other shops are none of its business"


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    rule = only(rendered("monitoring"), "PrometheusRule")
    [group] = rule["spec"]["groups"]
    assert group["name"] == "shop.events"
    for each in group["rules"]:
        assert each["labels"]["severity"] in ("warning", "critical")
        assert len(each["annotations"]["summary"]) > 20
        assert len(each["annotations"]["description"]) > 20
        assert re.search(r" > [0-9.]+$", each["expr"])
        assert 'namespace="ns", pod=~"shop-.*"' in each["expr"]
    alerts = {each["alert"]: each for each in group["rules"]}
    assert set(alerts) == {"EventsDeadLettered", "EventsLost", "DeliveriesFail", "RequestsFail", "ConsumersDie"}
    assert alerts["EventsLost"]["labels"]["severity"] == "critical"
    assert "{{ $labels.reason }}" in alerts["EventsDeadLettered"]["annotations"]["summary"]
    assert {name: each.get("for") for name, each in alerts.items()} == {
        "EventsDeadLettered": None,
        "EventsLost": None,
        "DeliveriesFail": "5m",
        "RequestsFail": "5m",
        "ConsumersDie": "30m",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_programs_are_what_the_chart_thinks_they_are(name: str) -> None:
    text = (rendering.CHART / "templates/_services.tpl").read_text()
    table = re.search(r'define "ecommerce.programs" -}}\n(.*?){{-', text, re.DOTALL)
    assert table
    program: dict[str, Any] = yaml.safe_load(table[1])[name]
    settings = importlib.import_module(f"{name}_service.settings")
    ports = [model.model_fields["port"].default for model in vars(settings).values() if hasattr(model, "model_fields")]
    assert program["port"] in ports
    sources = "".join(path.read_text() for path in Path(ROOT / "services" / name / "src").rglob("*.py"))
    assert f'"{program["group"]}"' in sources
    consumed = "".join(path.read_text() for path in Path(ROOT / "libs/contracts/src").rglob("*.py")) + sources
    assert f'"{program["stream"]}"' in consumed
