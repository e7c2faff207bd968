"""The Redis of the chart, or another one, as the services reach it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.deploy import rendering
from tests.deploy.rendering import SERVICES, container, environment, of_kind, only, render, rendered


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
        "redis-users": "/run/secrets/redis-users",
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
    ("case", "name", "key", "users"),
    [
        ("default", "shop-redis", "password", "shop-redis-users"),
        ("plain", "shop-redis", "password", None),
        ("release-b", "b-redis", "password", "shop-redis-users"),
        ("production-storage", "shop-redis", "redis", "shop-redis-users"),
        ("external-tls", "managed-redis", "redis-password", None),
    ],
)
def test_the_password_is_a_file_and_never_in_a_manifest(case: str, name: str, key: str, users: str | None) -> None:
    manifests = rendered(case)
    for pod, _, spec in rendering.pods(manifests):
        if pod.endswith("-test"):
            continue
        [volume] = [each for each in spec["volumes"] if each["name"] == "redis-password"]
        service = pod.rpartition("-")[2]
        own = users if service in SERVICES else None
        assert volume["secret"] == {
            "secretName": own or name,
            "defaultMode": 0o440,
            "items": [{"key": f"{service}-service" if own else key, "path": "password"}],
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
