"""What the chart's alerts and dashboards ask Prometheus for, taken apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from tests.deploy.rendering import Manifest, of_kind, only, rendered

# What Prometheus itself puts on a series that it scrapes from a pod.
FROM_PROMETHEUS = frozenset({"namespace", "pod"})
WORDS = frozenset({"sum", "max", "min", "count", "by", "and", "or", "unless", "vector"})
FUNCTIONS = frozenset({"rate", "increase", "deriv", "histogram_quantile", "abs"})


class Selector(NamedTuple):
    """One metric in a query, and the labels by which its series are chosen, with the value where it is one."""

    metric: str
    labels: frozenset[tuple[str, str | None]]


class Asked(NamedTuple):
    """A query: where it stands, and the labels that are shown of its answer."""

    where: str
    expr: str
    shown: frozenset[str]

    @property
    def selectors(self) -> list[Selector]:
        found = [Selector(name, frozenset()) for name in re.findall(r"label_values\((\w+),", self.expr)]
        for name, inside in re.findall(r"(\w+)\{([^}]*)\}", self.expr):
            matchers = re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', inside)
            labels = frozenset((label, value if how == "=" else None) for label, how, value in matchers)
            found.append(Selector(name, labels))
        return found

    @property
    def grouping(self) -> frozenset[str]:
        """The labels that it groups by, or lists the values of."""
        groups = [each for labels in re.findall(r"by \(([^)]*)\)", self.expr) for each in labels.split(",")]
        return frozenset(map(str.strip, [*groups, *re.findall(r"label_values\(.*, (\w+)\)", self.expr)]))

    @property
    def strays(self) -> set[str]:
        """Words that are neither PromQL's nor a metric with its braces."""
        plain = re.sub(r"\w+\{[^}]*\}|by \([^)]*\)|label_values\(.*\)|\[[^]]*\]", "", self.expr)
        return set(re.findall(r"[A-Za-z_]\w*", plain)) - WORDS - FUNCTIONS


@cache
def rules() -> dict[str, Any]:
    """The rule groups, as a file of Prometheus's own holds them."""
    return rules_in(rendered("monitoring"))


def rules_in(manifests: list[Manifest]) -> dict[str, Any]:
    """Those of a chart that was rendered in another way."""
    return dict(only(manifests, "PrometheusRule")["spec"])


def alerts() -> list[dict[str, Any]]:
    return [each for group in rules()["groups"] for each in group["rules"]]


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards of the chart by file name."""
    texts = [each["data"].items() for each in of_kind(rendered("monitoring"), "ConfigMap")]
    return {name: json.loads(text) for items in texts for name, text in items if name.endswith(".json")}


def queries() -> Iterator[Asked]:
    """All of them."""
    for alert in alerts():
        shown = re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"]))
        yield Asked(alert["alert"], alert["expr"], frozenset(shown))
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
                yield Asked(f"{name}: {panel['title']}", target["expr"], frozenset(shown))
        for variable in dashboard["templating"]["list"]:
            if "definition" in variable:
                yield Asked(f"{name}: ${variable['name']}", variable["definition"], frozenset())
