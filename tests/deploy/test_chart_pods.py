"""Pods: how many, where, how they come and go, what they are told, and where their telemetry goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventcore.web.ending import LAST_RESORT_SECONDS, LEAVING_SECONDS
from tests.deploy import rendering
from tests.deploy.rendering import SERVICES, container, environment, of_kind, only, render, rendered


def replicas(values: Any, name: str = "inventory") -> Any:
    return only(render(values), "Deployment", f"shop-{name}")["spec"].get("replicas")


def test_replicas_are_two_by_default_and_may_be_anything_from_zero() -> None:
    assert replicas({}) == 2
    assert replicas({"defaults": {"replicas": 0}}) == 0
    assert replicas({"defaults": {"replicas": 3}, "services": {"inventory": {"replicas": 7}}}) == 7


@pytest.mark.parametrize("mode", ["hpa", "keda"])
def test_no_replicas_are_rendered_with_an_autoscaler(mode: str) -> None:
    values = {"services": {"inventory": {"autoscaling": {"mode": mode}}}}
    assert replicas(values) is None
    assert replicas(values, "order") == 2


@pytest.mark.parametrize("values", [{"defaults": {"replicas": None}}, {"services": {"inventory": {"replicas": None}}}])
def test_no_replicas_are_rendered_for_null(values: Any) -> None:
    assert replicas(values) is None


def test_an_upgrade_rendered_without_a_cluster_shows_the_value() -> None:
    text = rendering.render_text({}, upgrade=True)["deployment.yaml"]
    assert [each["spec"]["replicas"] for each in rendering.objects([text])] == [2, 2, 2]


def test_rollouts_add_a_pod_before_they_take_one() -> None:
    for each in of_kind(rendered("default"), "Deployment"):
        assert each["spec"]["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        }
        assert each["spec"]["revisionHistoryLimit"] == 5
    own = only(rendered("everything"), "Deployment", "store-order")["spec"]["strategy"]["rollingUpdate"]
    assert own == {"maxUnavailable": "25%", "maxSurge": 2}


def test_pods_stop_in_time() -> None:
    for name in SERVICES:
        spec = only(rendered("default"), "Deployment", f"shop-{name}")["spec"]["template"]["spec"]
        own = container(rendered("default"), name)
        assert own["lifecycle"]["preStop"]["sleep"]["seconds"] == 5
        assert environment(rendered("default"), name)["DRAIN_SECONDS"] == "20"
        assert spec["terminationGracePeriodSeconds"] == 30
    assert only(rendered("default"), "StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_a_pod_has_time_to_end() -> None:
    leaving = LEAVING_SECONDS + LAST_RESORT_SECONDS
    for each in of_kind(rendered("default"), "Deployment"):
        spec = each["spec"]["template"]["spec"]
        name = spec["containers"][0]["name"]
        drain = float(environment(rendered("default"), name)["DRAIN_SECONDS"])
        before = container(rendered("default"), name)["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert before + drain + leaving < spec["terminationGracePeriodSeconds"]
    assert leaving < 5, "the chart asks for so much beside drainSeconds"


def test_disruptions_take_one_pod_at_a_time_and_never_wait_for_broken_ones() -> None:
    budgets = of_kind(rendered("default"), "PodDisruptionBudget")
    assert len(budgets) == 3
    for each in budgets:
        assert each["spec"]["maxUnavailable"] == 1
        assert each["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_pods_are_spread_over_nodes_revision_by_revision() -> None:
    [constraint] = only(rendered("default"), "Deployment", "shop-order")["spec"]["template"]["spec"][
        "topologySpreadConstraints"
    ]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["maxSkew"] == 1
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"


def test_what_a_user_gives_reaches_the_pods() -> None:
    manifests = rendered("everything")
    pod = only(manifests, "Deployment", "store-inventory")["spec"]["template"]
    spec, own = pod["spec"], container(manifests, "inventory")
    assert pod["metadata"]["labels"].items() >= {"team": "shop", "example.com/tier": "backend"}.items()
    assert pod["metadata"]["annotations"]["example.com/scraped"] == "no"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "nodeAffinity" in spec["affinity"]
    assert spec["tolerations"][0]["key"] == "shop"
    assert spec["priorityClassName"] == "high"
    assert spec["securityContext"]["runAsUser"] == 20002
    assert spec["securityContext"]["runAsGroup"] == 10001
    assert [each["name"] for each in spec["initContainers"]] == ["wait"]
    assert [each["name"] for each in spec["containers"]] == ["inventory", "proxy"]
    assert {"name": "scratch", "mountPath": "/scratch"} in own["volumeMounts"]
    assert own["envFrom"] == [{"secretRef": {"name": "extra"}}]
    assert environment(manifests, "inventory")["TZ"] == "Europe/Vienna"
    assert own["resources"]["requests"] == {"cpu": "250m", "memory": "128Mi"}
    assert own["image"] == "localhost/ecommerce/inventory:9.9.9"
    assert own["imagePullPolicy"] == "IfNotPresent"
    service = only(manifests, "Service", "store-inventory")
    assert service["spec"]["type"] == "NodePort"
    assert service["metadata"]["annotations"] == {"example.com/exposed": "yes"}
    assert service["metadata"]["labels"]["team"] == "shop"
    assert spec["serviceAccountName"] == "default"
    account = only(manifests, "ServiceAccount", "store-notification")
    assert account["metadata"]["annotations"] == {"example.com/role": "shop"}
    assert account["automountServiceAccountToken"] is False
    order = only(manifests, "Deployment", "store-order")["spec"]["template"]["spec"]
    assert order["serviceAccountName"] == "shared"
    assert "LOG_LEVEL" not in environment(manifests, "order")
    test = only(manifests, "Pod")["spec"]
    assert test["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert test["tolerations"][0]["key"] == "shop"
    redis = only(manifests, "StatefulSet")["spec"]["template"]
    assert redis["metadata"]["labels"].items() >= {"team": "shop", "example.com/tier": "store"}.items()
    assert redis["metadata"]["annotations"]["example.com/backup"] == "no"
    assert redis["spec"]["priorityClassName"] == "higher"
    assert redis["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert redis["spec"]["affinity"] == {"podAntiAffinity": {}}
    assert redis["spec"]["tolerations"] == [{"key": "redis", "operator": "Exists"}]
    assert redis["spec"]["securityContext"]["runAsUser"] == 999


def test_images_are_pulled_with_the_credentials_given() -> None:
    for name, _, spec in rendering.pods(rendered("hpa")):
        assert spec["imagePullSecrets"] == [{"name": "registry"}], name
        if not name.endswith("-redis"):
            assert spec["containers"][0]["imagePullPolicy"] == "Always"


def test_every_pod_says_who_it_is() -> None:
    for name in SERVICES:
        variables = environment(rendered("monitoring"), name)
        assert variables["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}, "the consumer's name"
        assert variables["POD_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
        assert variables["POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
        assert variables["NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
        assert variables["OTEL_SERVICE_NAME"] == f"{name}-service"
        assert dict(pair.split("=") for pair in variables["OTEL_RESOURCE_ATTRIBUTES"].split(",")) == {
            "service.namespace": "shop",
            "service.instance.id": "$(POD_NAME)",
            "service.version": "0.1.0",
            "deployment.environment.name": "staging",
            "k8s.namespace.name": "$(POD_NAMESPACE)",
            "k8s.deployment.name": f"shop-{name}",
            "k8s.pod.name": "$(POD_NAME)",
            "k8s.pod.uid": "$(POD_UID)",
            "k8s.node.name": "$(NODE_NAME)",
            "team": "shop",
        }


def test_telemetry_goes_where_told_and_else_nowhere() -> None:
    told = environment(rendered("monitoring"), "order")
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector.observability:4318/v1"
    assert told["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"
    assert (told["OTEL_TRACES_SAMPLER"], told["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.25")
    default = environment(rendered("default"), "order")
    assert {name for name in default if name.startswith("OTEL_")} == {"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"}
    assert "deployment.environment.name" not in default["OTEL_RESOURCE_ATTRIBUTES"]


def test_monitoring_is_there_when_told_and_else_not() -> None:
    kinds = {each["kind"] for each in rendered("default")}
    assert not kinds & {"PodMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute", "Ingress"}
    assert [each["metadata"]["name"] for each in of_kind(rendered("default"), "ConfigMap")] == ["shop-redis"]
    manifests = rendered("monitoring")
    monitor, rule = only(manifests, "PodMonitor"), only(manifests, "PrometheusRule")
    assert monitor["metadata"]["labels"]["release"] == rule["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "management", "path": "/metrics", "interval": "15s"}]
    assert monitor["spec"]["selector"]["matchExpressions"][0]["values"] == sorted(SERVICES)
    dashboards = [each for each in of_kind(manifests, "ConfigMap") if "dashboard" in each["metadata"]["name"]]
    assert [each["metadata"]["name"] for each in dashboards] == [
        f"shop-dashboard-{name}" for name in ("overview", "redis", "service")
    ]
    for dashboard in dashboards:
        assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert dashboard["metadata"]["annotations"] == {"grafana_folder": "Shop"}
        [(name, text)] = dashboard["data"].items()
        assert f"shop-dashboard-{name}" == f"{dashboard['metadata']['name']}.json"
        assert json.loads(text)["panels"]


def test_settings_and_secret_settings_reach_the_programs() -> None:
    variables = environment(rendered("everything"), "inventory")
    assert (variables["LOG_LEVEL"], variables["LOG_FORMAT"], variables["CONSUMER_CONCURRENCY"]) == (
        "DEBUG",
        "json",
        "16",
    )
    mail = environment(rendered("notification-only"), "notification")["SMTP_URL"]
    assert mail == {"secretKeyRef": {"name": "mail", "key": "url"}}
