"""What single parts of the chart say: replicas, Redis, who may talk to whom, scaling, telemetry, routes, notes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.deploy import rendering
from tests.deploy.rendering import SERVICES, at, container, environment, of_kind, only, render, rendered

PROGRAMS = {
    "order": (8001, "inventory_stream", "order-group"),
    "inventory": (8002, "orders_stream", "inventory-group"),
    "notification": (8003, "inventory_stream", "notification-group"),
}


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


# Redis


def redis(case: str) -> Any:
    return only(rendered(case), "StatefulSet")["spec"]["template"]["spec"]


def config(case: str) -> dict[str, str]:
    data: dict[str, str] = next(
        each["data"] for each in of_kind(rendered(case), "ConfigMap") if "redis.conf" in each["data"]
    )
    return data


def directives(case: str) -> dict[str, str]:
    lines = [line for line in config(case)["redis.conf"].splitlines() if line and not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def test_redis_keeps_what_it_is_given() -> None:
    assert directives("default") == {
        "port": "6379",
        "dir": "/data",
        "aclfile": "/run/redis/users.acl",
        "protected-mode": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
    }
    state = only(rendered("default"), "StatefulSet")["spec"]
    assert state["replicas"] == 1
    assert state["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    [claim] = state["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}}
    [larger] = only(rendered("production-storage"), "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert larger["spec"]["storageClassName"] == "fast"
    assert larger["spec"]["resources"]["requests"]["storage"] == "20Gi"


def test_redis_does_as_told() -> None:
    told = directives("everything")
    assert (told["port"], told["appendfsync"], told["maxmemory"], told["maxclients"]) == (
        "6380",
        "always",
        "1gb",
        "500",
    )
    assert "aclfile" not in told
    assert "REDISCLI_AUTH" not in config("everything")["ping.sh"]
    assert "acl" not in config("everything")["start.sh"]
    volumes = {each["name"]: each for each in redis("everything")["volumes"]}
    assert "emptyDir" in volumes["data"]
    assert "redis-password" not in volumes
    assert "REDIS_PASSWORD_FILE" not in environment(rendered("everything"), "order")
    assert environment(rendered("everything"), "order")["REDIS_URL"] == "redis://store-redis:6380/0"
    own = container(rendered("everything"), "redis")
    assert (own["image"], own["imagePullPolicy"]) == ("registry.example.com/valkey:9.1", "Never")


def test_nothing_depends_on_the_entry_point_of_the_redis_image() -> None:
    own = container(rendered("default"), "redis")
    assert own["command"] == ["sh", "/etc/redis/start.sh"]
    assert own["workingDir"] == "/data"
    assert "exec redis-server /etc/redis/redis.conf" in config("default")["start.sh"]
    assert own["image"].startswith("docker.io/library/redis:")
    assert re.search(r"@sha256:[0-9a-f]{64}$", own["image"])
    mounts = {each["name"]: each["mountPath"] for each in own["volumeMounts"]}
    assert mounts == {
        "data": "/data",
        "config": "/etc/redis",
        "run": "/run/redis",
        "redis-password": "/run/secrets/redis",
    }
    probes = {each: own[each]["exec"]["command"] for each in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {
        "startupProbe": ["sh", "/etc/redis/alive.sh"],
        "livenessProbe": ["sh", "/etc/redis/alive.sh"],
        "readinessProbe": ["sh", "/etc/redis/ready.sh"],
    }
    assert own["startupProbe"]["periodSeconds"] * own["startupProbe"]["failureThreshold"] >= 600
    assert own["livenessProbe"]["periodSeconds"] * own["livenessProbe"]["failureThreshold"] >= 60
    assert own["readinessProbe"]["failureThreshold"] == 2
    assert {"medium": "Memory", "sizeLimit": "1Mi"} in [each.get("emptyDir") for each in redis("default")["volumes"]]


def test_redis_has_a_name_for_clients_and_one_for_its_pod() -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(rendered("default"), "Service")}
    for name in ("shop-redis", "shop-redis-headless"):
        [port] = services[name]["ports"]
        assert port == {
            "name": "redis",
            "port": 6379,
            "targetPort": "redis",
            "protocol": "TCP",
            "appProtocol": "redis",
        }
        assert services[name]["type"] == "ClusterIP"
    assert "clusterIP" not in services["shop-redis"]
    assert services["shop-redis-headless"]["clusterIP"] == "None"
    assert services["shop-redis-headless"]["publishNotReadyAddresses"] is True
    [port] = container(rendered("everything"), "redis")["ports"]
    assert port == {"name": "redis", "containerPort": 6380, "protocol": "TCP"}


@pytest.mark.parametrize(
    ("case", "name", "key"),
    [
        ("default", "shop-redis", "password"),
        ("release-b", "b-redis", "password"),
        ("production-storage", "shop-redis", "redis"),
        ("external-tls", "managed-redis", "redis-password"),
    ],
)
def test_the_password_is_a_file_and_never_in_a_manifest(case: str, name: str, key: str) -> None:
    manifests = rendered(case)
    for pod, _, spec in rendering.pods(manifests):
        if pod.endswith("-test"):
            continue
        [volume] = [each for each in spec["volumes"] if each["name"] == "redis-password"]
        assert volume["secret"] == {
            "secretName": name,
            "defaultMode": 0o440,
            "items": [{"key": key, "path": "password"}],
        }
        [mount] = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "redis-password"]
        assert mount["mountPath"] == "/run/secrets/redis"
        assert mount["readOnly"] is True
    for service in SERVICES:
        assert environment(manifests, service)["REDIS_PASSWORD_FILE"] == "/run/secrets/redis/password"
    assert of_kind(manifests, "Secret") == [], "without a cluster none is made up"


def test_a_password_in_the_values_becomes_the_secret_and_changing_it_starts_pods_anew() -> None:
    def stamps(password: str, name: str = "shop") -> set[str]:
        manifests = render({"redis": {"auth": {"password": password}}}, name=name)
        found = [each.get("annotations", {}).get("checksum/redis-auth") for _, each, _ in rendering.pods(manifests)]
        stamped = {each for each in found if each}
        assert len(found) - found.count(None) == 4, "the services and Redis itself"
        return stamped

    secret = only(render({"redis": {"auth": {"password": "word"}}}), "Secret")
    assert secret["metadata"]["name"] == "shop-redis"
    assert secret["type"] == "Opaque"
    assert secret["data"] == {"password": "d29yZA=="}
    assert len(stamps("word")) == 1
    assert stamps("word") != stamps("other")
    assert stamps("word") != stamps("word", "b"), "nor can equal passwords be told"
    own = render({"redis": {"auth": {"password": "word", "existingSecret": "mine"}}})
    assert of_kind(own, "Secret") == []


def test_no_service_account_has_a_token() -> None:
    accounts = of_kind(render({}), "ServiceAccount")
    assert len(accounts) == 4
    assert all(each["automountServiceAccountToken"] is False for each in accounts)


def test_a_changed_configuration_restarts_redis_and_a_new_chart_does_not() -> None:
    def stamp(values: Any) -> str:
        checksum: str = only(render(values), "StatefulSet")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]
        return checksum

    assert stamp({}) != stamp({"redis": {"maxmemory": "600mb"}})
    assert stamp({}) == stamp({"commonLabels": {"a": "b"}})


def test_another_redis_is_reached_as_told() -> None:
    tls = environment(rendered("external-tls"), "order")
    assert tls["REDIS_URL"] == "rediss://shop@redis.example.com:6380/2"
    assert tls["REDIS_CA_FILE"] == "/run/secrets/redis-ca/ca.crt"
    spec = only(rendered("external-tls"), "Deployment", "shop-order")["spec"]["template"]["spec"]
    [authority] = [each for each in spec["volumes"] if each["name"] == "redis-ca"]
    assert authority["secret"]["secretName"] == "managed-redis"
    assert authority["secret"]["items"] == [{"key": "tls.crt", "path": "ca.crt"}]
    assert authority["secret"]["defaultMode"] == 0o444
    [mount] = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "redis-ca"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/run/secrets/redis-ca", True)
    sentinel = environment(rendered("sentinel"), "order")
    assert sentinel["REDIS_SENTINELS"] == "sentinel-0.redis:26379,sentinel-1.redis:26379,sentinel-2.redis:26379"
    assert sentinel["REDIS_SENTINEL_MASTER"] == "shop"
    assert sentinel["REDIS_URL"] == "redis://shop:6379/0"
    assert sentinel["KEY_PREFIX"] == "shop:"
    assert sentinel["REDIS_SENTINEL_PASSWORD_FILE"] == "/run/secrets/redis-sentinel/password"
    spec = only(rendered("sentinel"), "Deployment", "shop-order")["spec"]["template"]["spec"]
    [password] = [each["secret"] for each in spec["volumes"] if each["name"] == "sentinel-password"]
    assert password["secretName"] == "sentinels"
    assert password["items"] == [{"key": "watchword", "path": "password"}]
    [mount] = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "sentinel-password"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/run/secrets/redis-sentinel", True)
    for case in ("external-tls", "sentinel", "production", "inventory-only"):
        assert of_kind(rendered(case), "StatefulSet") == []
        assert not [each for each in rendered(case) if each["metadata"]["name"].startswith("shop-redis-headless")]


def test_the_settings_model_accepts_what_the_chart_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    from eventcore import Settings

    for case in ("sentinel", "release-a", "everything"):
        with monkeypatch.context() as patch:
            for name, value in environment(rendered(case), "order").items():
                if isinstance(value, str) and not name.endswith("_FILE"):
                    patch.setenv(name, value)
            assert Settings().drain_seconds in (20, 30)


# Who may talk to whom


def rules(case: str, name: str) -> Any:
    return only(rendered(case), "NetworkPolicy", name)["spec"]


def components(peers: Any) -> set[str]:
    return {
        each["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for each in peers
        if each.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/instance") == "shop"
    }


def test_redis_hears_the_services_and_nobody_else_and_calls_nobody() -> None:
    spec = rules("default", "shop-redis")
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    [rule] = spec["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 6379}]
    assert components(rule["from"]) == set(SERVICES)
    assert len(rule["from"]) == 3
    for peer in rule["from"]:
        assert set(peer) == {"podSelector"}
        assert set(peer["podSelector"]["matchLabels"]) == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }


def test_redis_hears_keda_only_with_keda_and_others_only_when_named() -> None:
    [rule] = rules("keda", "shop-redis")["ingress"]
    assert {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}},
        "podSelector": {"matchLabels": {"app": "keda-operator"}},
    } in rule["from"]
    assert len(rule["from"]) == 4
    [rule] = only(rendering.render(rendering.case("order-only"), name="order"), "NetworkPolicy", "order-redis")["spec"][
        "ingress"
    ]
    assert len(rule["from"]) == 2
    assert rule["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["inventory", "notification"]


def test_redis_alone_hears_nobody_rather_than_everybody() -> None:
    alone = only(render({"defaults": {"enabled": False}}), "NetworkPolicy", "shop-redis")["spec"]
    assert alone["ingress"] == []
    assert "Ingress" in alone["policyTypes"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_hear_their_namespace_and_call_dns_and_redis(name: str) -> None:
    spec = rules("default", f"shop-{name}")
    port = PROGRAMS[name][0]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": port}]}]
    dns, to_redis = spec["egress"]
    assert dns == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert components(to_redis["to"]) == {"redis"}
    assert to_redis["ports"] == [{"protocol": "TCP", "port": 6379}]


def test_services_hear_controllers_and_prometheus_when_told() -> None:
    [rule] = rules("hpa", "shop-order")["ingress"]
    assert rule["from"][1:] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    ]
    [rule] = rules("monitoring", "shop-order")["ingress"]
    assert rule["from"][1:] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_services_call_the_collector_and_what_is_named() -> None:
    collector = rules("monitoring", "shop-order")["egress"][2]
    assert collector["ports"] == [{"protocol": "TCP", "port": 4318}]
    assert collector["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}]
    assert rules("production", "shop-order")["egress"][2] == {"ports": [{"protocol": "TCP", "port": 4317}]}
    mail = rules("notification-only", "shop-notification")["egress"][2]
    assert mail == {"ports": [{"protocol": "TCP", "port": 587}]}


def test_services_call_another_redis_where_it_is() -> None:
    there = {"ports": [{"protocol": "TCP", "port": 6380}], "to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]}
    assert rules("external-tls", "shop-order")["egress"][1] == there
    assert rules("keda-tls", "shop-order")["egress"][1] == {"ports": [{"protocol": "TCP", "port": 6379}]}
    assert rules("sentinel", "shop-order")["egress"][1] == {}, "Sentinels say which port; so any"


def test_the_test_calls_the_services_and_is_called_by_nobody() -> None:
    spec = rules("default", "shop-test")
    assert spec["ingress"] == []
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, *calls = spec["egress"]
    assert len(dns["ports"]) == 2
    assert [(components(each["to"]), each["ports"][0]["port"]) for each in calls] == [
        ({"inventory"}, 8002),
        ({"notification"}, 8003),
        ({"order"}, 8001),
    ]
    assert not of_kind(rendered("everything"), "NetworkPolicy")
    assert "shop-test" not in str(rendered("production-storage"))


# Scaling


def scalers(case: str) -> list[Any]:
    return of_kind(rendered(case), "ScaledObject")


@pytest.mark.parametrize("name", SERVICES)
def test_keda_looks_at_lag_and_at_pending_of_the_right_group(name: str) -> None:
    [scaler] = [each for each in scalers("keda") if each["metadata"]["name"] == f"shop-{name}"]
    spec = scaler["spec"]
    _, stream, group = PROGRAMS[name]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (1, 6, 5)
    scale_down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert scale_down == {"stabilizationWindowSeconds": 300}
    assert [set(each["metadata"]) & {"lagCount", "pendingEntriesCount"} for each in spec["triggers"]] == [
        {"lagCount"},
        {"pendingEntriesCount"},
    ]
    assert spec["triggers"][0]["metadata"]["lagCount"] == "50"
    assert spec["triggers"][1]["metadata"]["pendingEntriesCount"] == "200"
    for trigger in spec["triggers"]:
        assert trigger["type"] == "redis-streams"
        metadata = trigger["metadata"]
        assert metadata["address"] == "shop-redis.ns.svc:6379", "KEDA asks from a namespace of its own"
        assert metadata["stream"] == "{shop}:" + stream
        assert metadata["consumerGroup"] == group
        assert metadata["databaseIndex"] == "0"
        assert "enableTLS" not in metadata
        assert "username" not in metadata
        assert trigger["authenticationRef"] == {"name": "shop-redis"}
    assert only(rendered("keda"), "TriggerAuthentication")["spec"] == {
        "secretTargetRef": [{"parameter": "password", "name": "shop-redis", "key": "password"}]
    }


def test_keda_reaches_sentinels_and_tls() -> None:
    [scaler] = scalers("sentinel")
    for trigger in scaler["spec"]["triggers"]:
        assert trigger["type"] == "redis-sentinel-streams"
        assert trigger["metadata"]["addresses"].split(",")[2] == "sentinel-2.redis:26379"
        assert trigger["metadata"]["sentinelMaster"] == "shop"
        assert "address" not in trigger["metadata"]
    assert only(rendered("sentinel"), "TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "sentinel-redis", "key": "password"},
        {"parameter": "sentinelPassword", "name": "sentinels", "key": "watchword"},
    ]
    [scaler] = scalers("keda-tls")
    for trigger in scaler["spec"]["triggers"]:
        assert trigger["type"] == "redis-streams"
        assert trigger["metadata"]["address"] == "redis.example.com:6379"
        assert trigger["metadata"]["enableTLS"] == "true"
    assert only(rendered("keda-tls"), "TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "managed-redis", "key": "password"},
        {"parameter": "ca", "name": "managed-ca", "key": "ca.crt"},
    ]
    named = at(rendering.case("external-tls"), ("services", "order", "autoscaling", "mode"), "keda")
    metadata = only(render(named), "ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert metadata["address"] == "redis.example.com:6380"
    assert (metadata["username"], metadata["databaseIndex"]) == ("shop", "2")


def test_keda_needs_no_password_where_there_is_none() -> None:
    values = {"redis": {"auth": {"enabled": False}}, "services": {"order": {"autoscaling": {"mode": "keda"}}}}
    manifests = render(values)
    assert of_kind(manifests, "TriggerAuthentication") == []
    assert "authenticationRef" not in str(of_kind(manifests, "ScaledObject"))
    assert of_kind(rendered("external-tls"), "TriggerAuthentication") == [], "nor is it there without KEDA"


def test_cpu_scales_where_told() -> None:
    [scaler] = of_kind(rendered("hpa"), "HorizontalPodAutoscaler")
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-order"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 8)
    [metric] = spec["metrics"]
    assert metric == {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    }
    assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 300}}


# Telemetry


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
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s"}]
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


# Routes


def test_the_ingress_sends_paths_to_their_services() -> None:
    spec = only(rendered("hpa"), "Ingress")["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == [{"secretName": "shop-tls", "hosts": ["shop.example.com"]}]
    [rule] = spec["rules"]
    assert rule["host"] == "shop.example.com"
    found = {each["path"]: each["backend"]["service"] for each in rule["http"]["paths"]}
    assert found == {
        "/orders": {"name": "shop-order", "port": {"name": "http"}},
        "/stock": {"name": "shop-inventory", "port": {"name": "http"}},
        "/reservations": {"name": "shop-inventory", "port": {"name": "http"}},
    }
    assert {each["pathType"] for each in rule["http"]["paths"]} == {"Prefix"}
    bare = at(at(rendering.case("hpa"), ("ingress", "className"), ""), ("ingress", "tlsSecret"), "")
    assert set(only(render(bare), "Ingress")["spec"]) == {"rules"}
    noted = at(rendering.case("hpa"), ("ingress", "annotations"), {"a": "b"})
    assert only(render(noted), "Ingress")["metadata"]["annotations"] == {"a": "b"}


def test_the_route_sends_paths_to_their_services() -> None:
    route = only(render(at(rendering.case("hpa"), ("httpRoute", "annotations"), {"a": "b"})), "HTTPRoute")
    assert route["metadata"]["annotations"] == {"a": "b"}
    assert route["spec"]["parentRefs"] == [{"name": "gateway", "namespace": "gateways"}]
    assert route["spec"]["hostnames"] == ["shop.example.com"]
    found = [
        ([match["path"]["value"] for match in rule["matches"]], rule["backendRefs"]) for rule in route["spec"]["rules"]
    ]
    assert found == [
        (["/stock", "/reservations"], [{"name": "shop-inventory", "port": 8002}]),
        (["/orders"], [{"name": "shop-order", "port": 8001}]),
    ]
    assert {match["path"]["type"] for rule in route["spec"]["rules"] for match in rule["matches"]} == {"PathPrefix"}


# The test and the notes


def test_the_test_is_a_hook_that_runs_once_with_a_service_image() -> None:
    pod = only(rendered("default"), "Pod", "shop-test")
    assert pod["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    }
    spec = pod["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 120
    [own] = spec["containers"]
    assert own["image"] == container(rendered("default"), "order")["image"]
    assert own["imagePullPolicy"] == "IfNotPresent"
    assert own["command"] == ["python", "-c"]
    compile(own["args"][0], "helm_test.py", "exec")
    assert {each["name"]: each["value"] for each in own["env"]} == {
        "TIMEOUT_SECONDS": "60",
        "ORDER_URL": "http://shop-order:8001",
        "INVENTORY_URL": "http://shop-inventory:8002",
        "NOTIFICATION_URL": "http://shop-notification:8003",
    }
    assert not of_kind(rendered("production-storage"), "Pod")


def notes(case: str, **more: Any) -> str:
    return rendering.render_text(rendering.case(case) | more)["NOTES.txt"]


# A port is forwarded a moment after the command: what is pasted at once has to wait for it.
PATIENT = "curl -s --retry 9 --retry-connrefused"
JSON = "-H 'Content-Type: application/json'"
STOCK = '{"available": 39}'
ORDER = '{"items": [{"productId": "11", "quantity": 12}]}'


def test_notes_can_be_pasted() -> None:
    text = notes("default")
    for line in (
        "kubectl -n ns rollout status deployment/shop-order",
        "kubectl -n ns rollout status deployment/shop-inventory",
        "kubectl -n ns port-forward service/shop-order 8001 &",
        "kubectl -n ns port-forward service/shop-inventory 8002 &",
        f"{PATIENT} localhost:8001/readyz",
        f"{PATIENT} -X PUT localhost:8002/stock/11 {JSON} -d '{STOCK}'",
        f"curl -i localhost:8001/orders {JSON} -d '{ORDER}'",
        "curl localhost:8001/orders",
        "helm test shop -n ns --logs",
        "kubectl -n ns exec deployment/shop-order -- eventcore status",
        "kubectl -n ns scale deployment/shop-inventory --replicas=5",
        "kubectl -n ns get secret shop-redis -o jsonpath='{.data.password}' | base64 -d",
    ):
        assert f"\n  {line}\n" in text
    assert "ecommerce 0.1.0 is release shop in namespace ns" in text
    assert "Scale inventory by hand; later upgrades keep the number (now 2)" in text
    assert "up to one second of answered orders is lost" in text
    assert "Redis is one node: while it restarts, the services answer 503 and go on afterwards." in text
    assert "The volume data-shop-redis-0 stays" in text
    assert "WARNING" not in text
    assert "\n\n\n" not in text


def test_notes_fit_the_values() -> None:
    assert "inventory is scaled by keda, between 1 and 6 pods" in notes("keda")
    assert "by hand; later upgrades keep the number:" in notes("release-b")
    everything = notes("everything")
    assert "up to one second" not in everything
    for warning in (
        "redis.persistence.enabled is false: all data is gone when the pod goes.",
        "redis.auth.enabled is false: nothing keeps strangers from Redis.",
        "networkPolicy.enabled is false: every pod of the cluster can reach the services and Redis.",
    ):
        assert f"WARNING: {warning}" in everything
    assert "only the NetworkPolicies keep strangers" in notes("default", redis={"auth": {"enabled": False}})
    assert "The volume" not in everything
    assert "your Secret b-redis" in notes("release-b")
    assert (
        "whoever can read this release's values can read it: a Secret of your own, named by\nredis.auth.existingSecret"
        in (notes("release-a"))
    )
    assert "Redis" not in notes("inventory-only").replace("Redis it", "")
    assert "The first order" not in notes("inventory-only")
    assert "stock/11" not in notes("order-only")
    assert "helm test" not in notes("production-storage")
    assert "eventcore status" not in notes("default", defaults={"enabled": False})
