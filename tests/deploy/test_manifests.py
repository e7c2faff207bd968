"""deploy/k8s is what the chart says, and kustomize makes of it what Kubernetes takes."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import manifests
from tests.deploy import rendering
from tests.deploy.rendering import ROOT, container, environment, identities, of_kind, only

K8S = ROOT / "deploy/k8s"


@cache
def kustomized(path: str) -> list[Any]:
    command: list[str | Path] = [ROOT / ".venv/bin/kubectl", "kustomize", K8S / path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return rendering.objects([done.stdout])


def test_the_files_are_what_the_chart_gives() -> None:
    stale = [path.name for path, text in manifests.generated().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run scripts/render-manifests"


def test_there_are_no_other_files() -> None:
    here = {path for part in ("base", "components") for path in (K8S / part).rglob("*.yaml")}
    assert here == set(manifests.generated())


@pytest.mark.parametrize("overlay", ["base", "overlays/dev", "overlays/production"])
@pytest.mark.parametrize("version", ["1.33", "1.36"])
def test_kubernetes_takes_every_overlay(overlay: str, version: str) -> None:
    assert [problem for each in kustomized(overlay) for problem in rendering.invalid(each, version)] == []


@pytest.mark.parametrize("text", ["08892426", "1234e567", "1e5", "10", "-1.5"])
def test_text_that_looks_like_a_number_stays_text_for_kubernetes(text: str) -> None:
    annotated = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {"checksum": text}}}
    assert f"checksum: '{text}'" in manifests.dump(annotated), "PyYAML writes some of them without quotes"


def comparable(objects: list[Any]) -> dict[tuple[str, str], Any]:
    """The objects without what may differ: Helm's labels, and the order of variables, which patches change."""
    for each in of_kind(objects, "Deployment"):
        for own in each["spec"]["template"]["spec"]["containers"]:
            own["env"].sort(key=lambda variable: variable["name"])
    return {(each["kind"], each["metadata"]["name"]): manifests.without_helm(each) for each in objects}


def test_the_base_is_the_chart() -> None:
    assert comparable(kustomized("base")) == comparable(manifests.render(manifests.BASE))


@pytest.mark.parametrize("component", ["network-policies", "monitoring", "keda", "external-redis"])
def test_the_base_with_a_component_is_the_chart_with_its_values(component: str, tmp_path_factory: Any) -> None:
    values = {
        "network-policies": manifests.POLICIES,
        "monitoring": manifests.MONITORING,
        "keda": manifests.KEDA,
        "external-redis": manifests.EXTERNAL,
    }[component]
    folder = tmp_path_factory.mktemp("overlay")
    (folder / "k8s").symlink_to(K8S)
    text = {"resources": ["k8s/base"], "components": [f"k8s/components/{component}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    command = [ROOT / ".venv/bin/kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert comparable(rendering.objects([done.stdout])) == comparable(manifests.render(values))


def test_production_has_everything_but_a_redis_of_its_own() -> None:
    objects = kustomized("overlays/production")
    kinds = {each["kind"] for each in objects}
    assert {"NetworkPolicy", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"} < kinds
    assert "StatefulSet" not in kinds
    assert {each["metadata"].get("namespace") for each in objects} == {manifests.NAMESPACE}
    assert environment(objects, "order")["REDIS_URL"] == manifests.EXTERNAL_URL
    assert container(objects, "order")["image"] == "registry.example.com/ecommerce/order:0.1.0"
    assert all("replicas" not in each["spec"] for each in of_kind(objects, "Deployment"))


def test_development_runs_one_of_each_with_a_password_at_hand() -> None:
    objects = kustomized("overlays/dev")
    assert [each["spec"]["replicas"] for each in of_kind(objects, "Deployment")] == [1, 1, 1]
    assert ("Secret", "shop-redis") in identities(objects)
    volumes = only(objects, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    assert "shop-redis" in [each.get("secret", {}).get("secretName") for each in volumes]


def test_kind_has_two_workers_and_leaves_the_image_to_the_caller() -> None:
    cluster = yaml.safe_load((ROOT / "deploy/kind/cluster.yaml").read_text())
    assert [each["role"] for each in cluster["nodes"]] == ["control-plane", "worker", "worker"]
    assert not any("image" in each for each in cluster["nodes"])
