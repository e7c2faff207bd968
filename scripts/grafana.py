"""Grafana dashboards from lists of panels: what a dashboard is, and the JSON that Grafana reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """An expression and what its lines are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture. A `stat` is a number: green, and red from `red` on; without `red` it is no judgement."""

    title: str
    unit: str
    queries: Sequence[Query]
    about: str = ""
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 12
    red: float | None = None


@dataclass(frozen=True)
class Dashboard:
    """Rows of panels, by title."""

    name: str
    title: str
    about: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    of_one_service: bool = False


def document(dashboard: Dashboard) -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": f"ecommerce-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["ecommerce"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "tags": ["ecommerce"],
                "title": "Shop",
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": _variables(dashboard)},
        "panels": list(_panels(dashboard)),
    }


def _variables(dashboard: Dashboard) -> list[Json]:
    pods = 'label_values(process_uptime_seconds{namespace="$namespace"}, pod)'
    found: list[Json] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        _asked("namespace", "Namespace", "label_values(process_uptime_seconds, namespace)"),
        _asked("release", "Release", pods, regex="/(.*)-(order|inventory|notification)-.*/"),
    ]
    of_release = 'label_values(process_uptime_seconds{namespace="$namespace", pod=~"$release-.*"}, pod)'
    service = _asked("service", "Service", of_release, regex="/.*-(order|inventory|notification)-.*/")
    return [*found, service] if dashboard.of_one_service else found


def _asked(name: str, label: str, query: str, regex: str = "") -> Json:
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "regex": regex,
        "refresh": 2,
        "sort": 1,
    }


def _panels(dashboard: Dashboard) -> Iterator[Json]:
    """The panels row by row, each as far left and as high up as it goes."""
    number, x, y, height = 0, 0, 0, 0
    for title, panels in dashboard.rows:
        x, y, number = 0, y + height, number + 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": _place(24, 1, 0, y),
            "panels": [],
        }
        y, height = y + 1, 0
        for panel in panels:
            tall = 4 if panel.kind == "stat" else 8
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            number, height = number + 1, max(height, tall)
            yield _panel(panel, number, _place(panel.width, tall, x, y))
            x += panel.width


def _place(width: int, height: int, x: int, y: int) -> Json:
    return {"h": height, "w": width, "x": x, "y": y}


def _panel(panel: Panel, number: int, place: Json) -> Json:
    targets = [
        {
            "refId": chr(ord("A") + place),
            "expr": each.expr,
            "legendFormat": each.legend or "__auto",
            "datasource": SOURCE,
        }
        for place, each in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        **(_stat(panel) if panel.kind == "stat" else _timeseries(panel)),
        "targets": targets,
    }


def _timeseries(panel: Panel) -> Json:
    custom = {"fillOpacity": 10, "showPoints": "never"}
    return {
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _stat(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "text" if panel.red is None else "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    thresholds = {"mode": "absolute", "steps": steps}
    return {
        "fieldConfig": {"defaults": {"unit": panel.unit, "thresholds": thresholds}, "overrides": []},
        "options": {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }
