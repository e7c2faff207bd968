"""Charts rendered, validated and walked through in one process."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate.utils
import yaml
from helm_python import Chart
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).parents[2]
# The mutation check points this at a changed copy.
CHART = Path(os.environ.get("CHART_UNDER_TEST", ROOT / "deploy/helm/ecommerce"))
SERVICES = ("order", "inventory", "notification")
# Of each service: its port, what it consumes, and as which group.
PROGRAMS = {
    "order": (8001, "inventory_stream", "order-group"),
    "inventory": (8002, "orders_stream", "inventory-group"),
    "notification": (8003, "inventory_stream", "notification-group"),
}
CASES = (*sorted(path.stem.removesuffix("-values") for path in CHART.glob("ci/*-values.yaml")), "production")

Manifest = dict[str, Any]
Values = dict[str, Any]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Kinds of others, rendered by explicit flags only.
CUSTOM = {"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule", "HTTPRoute"}


def case(name: str) -> Values:
    """The values of ci/<name>-values.yaml, or of values-production.yaml."""
    path = CHART / ("values-production.yaml" if name == "production" else f"ci/{name}-values.yaml")
    return yaml.safe_load(path.read_text()) or {}


def render_text(
    values: Values | None = None, *, name: str = "shop", namespace: str = "ns", upgrade: bool = False
) -> dict[str, str]:
    """What each template gives. Raises helm_python's errors. A handle renders once: rendering changes it."""
    with Chart.load(CHART) as chart:
        texts = chart.render(values or {}, name=name, namespace=namespace, is_install=not upgrade, is_upgrade=upgrade)
    return {Path(path).name: text for path, text in texts.items()}


def render(values: Values | None = None, *, name: str = "shop", namespace: str = "ns") -> list[Manifest]:
    """All objects, the test's pod too."""
    texts = render_text(values, name=name, namespace=namespace)
    return objects(text for path, text in texts.items() if path != "NOTES.txt")


@cache
def _rendered(name: str) -> list[Manifest]:
    return render(case(name))


def rendered(name: str) -> list[Manifest]:
    """The objects of a case: a copy, rendered once."""
    return copy.deepcopy(_rendered(name))


def objects(texts: Iterable[str]) -> list[Manifest]:
    """The YAML documents of all texts, empty ones left out."""
    return [each for text in texts for each in yaml.load_all(text, Loader=LOADER) if each]


def only(manifests: Iterable[Manifest], kind: str, name: str = "") -> Manifest:
    """The one object of this kind, or of this kind and name."""
    found = [each for each in manifests if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    """All objects of this kind."""
    return [each for each in manifests if each["kind"] == kind]


def identities(manifests: Iterable[Manifest]) -> list[tuple[str, str]]:
    """Kind and name of each object."""
    return [(each["kind"], each["metadata"]["name"]) for each in manifests]


def pods(manifests: Iterable[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name, metadata and spec of all pods that the objects make."""
    for each in manifests:
        if each["kind"] in ("Deployment", "StatefulSet"):
            template = each["spec"]["template"]
            yield each["metadata"]["name"], template["metadata"], template["spec"]
        elif each["kind"] == "Pod":
            yield each["metadata"]["name"], each["metadata"], each["spec"]


def container(manifests: Iterable[Manifest], name: str) -> Manifest:
    """The container of the pod `<fullname>-<name>` that bears the service's name."""
    for _, _, spec in pods(manifests):
        for each in spec["containers"]:
            if each["name"] == name:
                return dict(each)
    raise LookupError(name)


def environment(manifests: Iterable[Manifest], name: str) -> dict[str, Any]:
    """The environment of a service: values, or where they come from."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(manifests, name)["env"]}


def chosen(selector: Manifest, manifests: Iterable[Manifest]) -> set[str]:
    """The names of those whose pods a label selector picks."""
    found = set()
    for name, metadata, _ in pods(manifests):
        labels = metadata["labels"]
        if all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items()) and all(
            each["operator"] == "In" and labels.get(each["key"]) in each["values"]
            for each in selector.get("matchExpressions", [])
        ):
            found.add(name)
    return found


@cache
def _definitions(version: str) -> Registry[Any]:
    path = f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json"
    resource: Resource[Any] = Resource.from_contents(kubernetes_validate.utils.schema_contents(path, version))
    return resource @ Registry()


@cache
def _validator(version: str, kind: str, api_version: str) -> Draft202012Validator | None:
    group, _, name = api_version.rpartition("/")
    file = "-".join(part for part in (kind.lower(), group.split(".")[0], name) if part)
    try:
        schema = kubernetes_validate.utils.schema_contents(
            f"kubernetes-json-schema/v{version}.0-local-strict/{file}.json", version
        )
    except FileNotFoundError:
        return None
    registry = Resource.from_contents(schema) @ _definitions(version)
    return Draft202012Validator(schema, registry=registry)


def invalid(manifest: Manifest, version: str) -> list[str]:
    """What Kubernetes of this version would refuse; `None` for kinds that it does not know itself."""
    validator = _validator(version, manifest["kind"], manifest["apiVersion"])
    if validator is None:
        return [] if manifest["kind"] in CUSTOM else [f"{manifest['kind']} is unknown"]
    where = f"{manifest['kind']} {manifest['metadata']['name']}"
    return [f"{where}: {'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(manifest)]


def at(values: Values, path: Iterable[str], value: object) -> Values:
    """A copy of the values with one key set."""
    result = copy.deepcopy(values)
    *parents, last = path
    inner = result
    for key in parents:
        if not isinstance(inner.get(key), dict):
            inner[key] = {}
        inner = inner[key]
    inner[last] = value
    return result
