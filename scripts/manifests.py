"""Renders the chart into deploy/k8s: a base and components that kustomize puts together."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

from scripts import chart_reference, dashboards, metrics_table, redis_users

ROOT = Path(__file__).parents[1]
# The mutation check points this at a changed copy.
CHART = Path(os.environ.get("CHART_UNDER_TEST", ROOT / "deploy/helm/ecommerce"))
OUTPUT = ROOT / "deploy/k8s"
COMPOSE_ALERTS = ROOT / "deploy/compose/alerts.yaml"
HEADER = "# Made from the chart by scripts/render-manifests; changes here are overwritten.\n"

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

NAME = "shop"
NAMESPACE = "shop"  # alerts and scalers name it
Manifest = dict[str, Any]
Values = dict[str, Any]

BASE: Values = {
    "redis": {"auth": {"existingSecret": f"{NAME}-redis"}, "acl": {"enabled": False}},
    "networkPolicy": {"enabled": False},
    "tests": {"enabled": False},
}
POLICIES: Values = BASE | {"networkPolicy": {"enabled": True}}
MONITORING: Values = BASE | {
    "monitoring": {each: {"enabled": True} for each in ("podMonitor", "prometheusRule", "dashboards")}
}
KEDA: Values = BASE | {"defaults": {"autoscaling": {"mode": "keda"}}}
EXTERNAL_URL = "redis://redis.example.com:6379/0"
EXTERNAL: Values = {
    **BASE,
    "redis": {"enabled": False},
    "externalRedis": {"url": EXTERNAL_URL, "existingSecret": f"{NAME}-redis"},
}


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and in quotes what others may take for a number, such as `08` or `1e5`."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if re.fullmatch(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def render(values: Values, *, chart: Path = CHART, name: str = NAME, namespace: str = NAMESPACE) -> list[Manifest]:
    """All objects of the chart, hooks too, sorted. Raises helm_python's errors."""
    with Chart.load(chart) as loaded:  # a handle renders once: rendering changes it
        rendered = loaded.render(values, name=name, namespace=namespace)
    return sorted(documents(text for path, text in rendered.items() if not path.endswith("NOTES.txt")), key=identity)


def documents(texts: Iterable[str]) -> list[Manifest]:
    """The YAML documents of all texts, empty ones left out."""
    return [each for text in texts for each in yaml.load_all(text, Loader=LOADER) if each]


def identity(manifest: Manifest) -> tuple[str, str]:
    """What tells one object from another within a namespace."""
    return manifest["kind"], manifest["metadata"]["name"]


def without_helm(manifest: Manifest) -> Manifest:
    """The same object without the labels that say it is Helm's."""
    labels = manifest["metadata"]["labels"]
    kept = {k: v for k, v in labels.items() if k not in ("helm.sh/chart", "app.kubernetes.io/managed-by")}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": kept}}


def dump(*manifests: Manifest) -> str:
    """The objects as one YAML text."""
    body = yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return HEADER + body


def generated() -> dict[Path, str]:
    """What the files of deploy/k8s that are made from the chart ought to hold."""
    base = [without_helm(each) for each in render(BASE)]
    known = {identity(each) for each in base}

    def added(values: Values) -> list[Manifest]:
        return [without_helm(each) for each in render(values) if identity(each) not in known]

    files = {f"base/{_file(kind)}.yaml": dump(*_of_kind(base, kind)) for kind in sorted({kind for kind, _ in known})}
    files["base/kustomization.yaml"] = dump(_kustomization("Kustomization", [Path(each).name for each in files]))
    for component, extra in (
        ("network-policies", added(POLICIES)),
        ("monitoring", added(MONITORING)),
        ("keda", added(KEDA)),
    ):
        files[f"components/{component}/{component}.yaml"] = dump(*extra)
        patches = [_no_replicas(each) for each in base if each["kind"] == "Deployment"] if component == "keda" else []
        files[f"components/{component}/kustomization.yaml"] = dump(
            _kustomization("Component", [f"{component}.yaml"], patches)
        )
    external = {identity(each): each for each in render(EXTERNAL)}
    files["components/external-redis/kustomization.yaml"] = dump(
        _kustomization("Component", [], [*_without_redis(base, external), *_external_url(base, external)])
    )
    return {OUTPUT / name: text for name, text in files.items()}


def compose() -> dict[Path, str]:
    """What the alerts of compose.yaml ought to hold."""
    [alerts] = _of_kind(render(MONITORING), "PrometheusRule")
    return {COMPOSE_ALERTS: dump(alerts["spec"])}


def _file(kind: str) -> str:
    return kind.lower()


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def _kustomization(kind: str, resources: list[str], patches: Iterable[Manifest] = ()) -> Manifest:
    version = "v1beta1" if kind == "Kustomization" else "v1alpha1"
    result: Manifest = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind}
    if resources:
        result["resources"] = sorted(resources)
    inline = [{"patch": yaml.dump(each, Dumper=_Dumper, sort_keys=False)} for each in patches]
    return result | ({"patches": inline} if inline else {})


def _of(manifest: Manifest, **body: Any) -> Manifest:
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {"name": manifest["metadata"]["name"]},
        **body,
    }


def _no_replicas(deployment: Manifest) -> Manifest:
    return _of(deployment, spec={"replicas": None})


def _without_redis(base: list[Manifest], external: dict[tuple[str, str], Manifest]) -> list[Manifest]:
    return [_of(each, **{"$patch": "delete"}) for each in base if identity(each) not in external]


def _external_url(base: list[Manifest], external: dict[tuple[str, str], Manifest]) -> list[Manifest]:
    patches = []
    for each in _of_kind(base, "Deployment"):
        wanted = external[identity(each)]
        annotations = wanted["spec"]["template"]["metadata"]["annotations"]
        container = {
            "name": wanted["spec"]["template"]["spec"]["containers"][0]["name"],
            "env": [{"name": "REDIS_URL", "value": EXTERNAL_URL}],
        }
        template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}
        patches.append(_of(each, spec={"template": template}))
    return patches


def main() -> int:
    """Write the files, or with `--check` say which differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    check = parser.parse_args().check
    stale = []
    # Schema and dashboards come first: rendering reads them.
    for source in (
        chart_reference.generated,
        dashboards.generated,
        redis_users.generated,
        generated,
        compose,
        metrics_table.generated,
    ):
        for path, text in source().items():
            if not path.exists() or path.read_text() != text:
                stale.append(path)
                if not check:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
    for path in stale:
        print("differs:" if check else "wrote", path.relative_to(ROOT))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
