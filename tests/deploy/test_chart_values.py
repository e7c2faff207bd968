"""What values do: each is used, documented and checked, and a wrong one gets a sentence that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from helm_python import HelmError

from scripts import chart_reference
from scripts.chart_reference import Value
from tests.deploy import rendering
from tests.deploy.rendering import CASES, SERVICES, at, container, environment, only, render

TREE = chart_reference.read_values((rendering.CHART / "values.yaml").read_text())
LEAVES = [leaf for top in TREE for leaf in top.described() if leaf.path[0] != "services"]
DEFAULTS = [leaf for leaf in LEAVES if leaf.path[0] == "defaults"]

# Another value for keys whose kind alone doesn't tell one.
OTHERS: dict[str, Any] = {
    "image.pullPolicy": "Never",
    "image.prefix": "elsewhere.example.com/shop",
    "defaults.autoscaling.mode": "hpa",
    "defaults.image.digest": "sha256:" + "0" * 64,
    "defaults.service.type": "LoadBalancer",
    "defaults.terminationGracePeriodSeconds": 99,
    "defaults.drainSeconds": 7,
    "defaults.preStopSleepSeconds": 3,
    "defaults.settings": {"LOG_LEVEL": "ERROR"},
    "defaults.secretSettings": {"WEBHOOK_SECRET": {"name": "webhook", "key": "secret"}},
    "defaults.extraEnv": [{"name": "EXTRA", "value": "1"}],
    "defaults.paths": ["/elsewhere"],
    "defaults.resources": {"requests": {"memory": "33Mi"}},
    "defaults.egress": [{"ports": [{"protocol": "TCP", "port": 587}]}],
    "defaults.rollout.maxUnavailable": 3,
    "defaults.pdb.maxUnavailable": 7,
    "redis.imagePullPolicy": "Always",
    "redis.auth.existingSecret": "mine",
    "redis.appendfsync": "always",
    "redis.maxmemory": "600mb",
    "redis.resources": {"limits": {"memory": "3Gi"}},
    "redis.persistence.size": "9Gi",
    "otlp.protocol": "grpc",
    "externalRedis.url": "rediss://other.example.com:7000/3",
    "externalRedis.sentinel.addresses": ["other:26379"],
    "otlp.endpoint": "http://other.example.com:4399",
    "otlp.sampleRatio": 0.5,
    "ingress.hosts": ["other.example.com"],
    "httpRoute.hostnames": ["other.example.com"],
    "httpRoute.parentRefs": [{"name": "other"}],
    "monitoring.podMonitor.interval": "7s",
    "managementPort": 9091,
}
PEERS = [{"podSelector": {"matchLabels": {"changed": "yes"}}}]


def other(leaf: Value, current: Any) -> Any:
    """A legal value that differs from the current one."""
    name = ".".join(leaf.path)
    reference = str(leaf.hint.get("$ref", ""))
    if name in OTHERS:
        return OTHERS[name]
    if "probes" in leaf.path:
        return {"periodSeconds": 17}
    if leaf.path[-1] == "for":
        return "1h30m"
    if isinstance(leaf.default, bool):
        return not current
    if reference.endswith("/names"):
        return [{"name": "changed"}]
    if reference:
        return PEERS if reference.endswith("/objects") else {"changed": "yes"}
    return leaf.default + 1 if isinstance(leaf.default, int | float) else "changed"


def surroundings(leaf: Value) -> list[Any]:
    """Values under which the key ought to matter."""
    top, rest = leaf.path[0], set(leaf.path)
    if rest & {"autoscaling", "kedaFrom"}:
        return [{"defaults": {"autoscaling": {"mode": "hpa" if "hpa" in rest else "keda"}}}]
    if leaf.path == ("externalRedis", "usersSecret"):
        return [rendering.case("acl-external")]
    if leaf.path[:2] == ("redis", "acl"):
        return [rendering.case("acl")]
    if top == "externalRedis":
        return [rendering.case("sentinel" if "sentinel" in rest else "external-tls")]
    if top in ("ingress", "httpRoute") or rest & {"httpFrom", "paths"}:
        return [at(rendering.case("hpa"), ("services", "notification"), {})]
    if top in ("monitoring", "otlp") or rest & {"otlpTo", "metricsFrom"}:
        return [rendering.case("monitoring")]
    if leaf.path == ("redis", "enabled"):
        return [at(rendering.case("external-tls"), leaf.path, False) | {"defaults": {}}]
    return [{}, rendering.case("release-a")]


def get(values: Any, leaf: Value) -> Any:
    for key in leaf.path:
        values = values.get(key, {})
    return leaf.default if values == {} else values


# What only a check reads: `BAD` has what it refuses.
CHECKED = "withoutTokens"


@pytest.mark.parametrize(
    "leaf", [each for each in LEAVES if each.path[-1] != CHECKED], ids=lambda leaf: ".".join(leaf.path)
)
def test_every_value_is_used(leaf: Value) -> None:
    def changes(values: Any) -> bool:
        changed = at(values, leaf.path, other(leaf, get(values, leaf)))
        if leaf.path == ("redis", "enabled"):
            changed["externalRedis"] = {}
        return rendering.render_text(values) != rendering.render_text(changed)

    assert any(changes(values) for values in surroundings(leaf)), f"{'.'.join(leaf.path)} changes nothing"


@pytest.mark.parametrize("leaf", DEFAULTS, ids=lambda leaf: ".".join(leaf.path[1:]))
def test_every_default_is_legal_for_a_service_and_changes_that_one_alone(leaf: Value) -> None:
    own = ("services", "inventory", *leaf.path[1:])
    for base in surroundings(leaf):
        before, after = render(base), render(at(base, own, other(leaf, leaf.default)))
        if before != after:
            break
    else:
        pytest.fail("it changes nothing")

    def others(manifests: list[Any]) -> list[Any]:
        apart = ("inventory", "redis", "test", "ingress")
        return [each for each in manifests if each["metadata"]["labels"]["app.kubernetes.io/component"] not in apart]

    assert others(before) == others(after)


def levels(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all maps whose keys are known."""
    if "properties" in schema:
        yield path
        for name, each in schema["properties"].items():
            yield from levels(each, (*path, name))


SCHEMA = json.loads((rendering.CHART / "values.schema.json").read_text())


@pytest.mark.parametrize("path", list(levels(SCHEMA)), ids=lambda path: ".".join(path) or "top")
def test_an_unknown_key_is_refused_at_every_level(path: tuple[str, ...]) -> None:
    with pytest.raises(HelmError, match="strange"):
        render(at({}, (*path, "strange"), 1))


@pytest.mark.parametrize(
    "path",
    [
        ("services",),
        ("services", "order"),
        ("services", "order", "autoscaling", "keda"),
        ("services", "order", "settings"),
        ("services", "order", "resources"),
        ("redis", "resources"),
        ("redis", "probes", "startup"),
    ],
    ids=".".join,
)
def test_an_unknown_key_is_refused_in_what_definitions_describe(path: tuple[str, ...]) -> None:
    with pytest.raises(HelmError, match="STRANGE"):
        render(at({}, (*path, "STRANGE"), 1))


def test_parent_charts_may_set_global_and_enabled() -> None:
    assert render({"global": {"anything": 1}, "enabled": True}) == render()


def alerting(alert: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"monitoring": {"prometheusRule": {"alerts": {alert: values}}}}


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"defaults": {"drainSeconds": 26}},
        r"PeriodSeconds \(30\) is too short: preStopSleepSeconds \(5\) \+ drainSeconds \(26\) \+ 5 to leave make 36",
    ),
    (
        {"services": {"order": {"settings": {"STATE_KEEP_DAYS": 31}}}},
        r"services\.order\.settings\.STATE_KEEP_DAYS \(31\) is more than services\.inventory's \(30\)",
    ),
    (
        {"services": {"inventory": {"settings": {"STATE_KEEP_DAYS": 7}}}},
        r"STATE_KEEP_DAYS \(30\) is more than services\.inventory's \(7\)",
    ),
    ({"services": {"order": {"preStopSleepSeconds": 6}}}, r"services\.order: terminationGracePeriodSeconds \(30\)"),
    (
        {"redis": {"enabled": False}},
        r"redis\.enabled is false.*externalRedis\.url, or externalRedis\.sentinel\.addresses and \.master",
    ),
    ({"externalRedis": {"url": "redis://a:1/0"}}, r"redis\.enabled is true.*set redis\.enabled=false"),
    (
        {"externalRedis": {"sentinel": {"addresses": ["a:1"], "master": "m"}}},
        r"redis\.enabled is true.*set redis\.enabled=false",
    ),
    (
        {"redis": {"enabled": False}, "externalRedis": {"sentinel": {"addresses": ["a:1"]}}},
        r"externalRedis\.sentinel\.addresses and externalRedis\.sentinel\.master go together",
    ),
    (
        {"redis": {"enabled": False}, "externalRedis": {"url": "redis://a:1/0", "sentinel": {"master": "m"}}},
        r"externalRedis\.sentinel\.addresses and externalRedis\.sentinel\.master go together",
    ),
    (
        {"redis": {"enabled": False}, "externalRedis": {"url": "redis://a:1/0", "sentinel": {"existingSecret": "s"}}},
        r"externalRedis\.sentinel\.existingSecret is set, but externalRedis\.sentinel\.addresses is empty",
    ),
    (
        {"redis": {"enabled": False}, "externalRedis": {"url": "rediss://user:word@a:1/0"}},
        r"externalRedis\.url holds a password.*externalRedis\.existingSecret",
    ),
    (
        {"redis": {"enabled": False}, "externalRedis": {"url": "redis://a:1/0", "tls": {"caSecret": "ca"}}},
        r"externalRedis\.tls\.caSecret is set, but externalRedis\.url does not start with rediss://",
    ),
    (
        {"redis": {"maxmemory": "900mb"}},
        r"redis\.maxmemory \(900mb\) is more than three quarters of redis\.resources\.limits\.memory \(1Gi\)",
    ),
    ({"redis": {"maxmemory": "1gb"}}, r"redis\.maxmemory \(1gb\) is more than three quarters"),
    ({"redis": {"resources": {"limits": {"memory": "600M"}}}}, r"redis\.maxmemory \(512mb\) is more than"),
    (
        {"redis": {"acl": {"enabled": True}}, "defaults": {"settings": {"DROP_GROUPS_IDLE_SECONDS": 60}}},
        r"DROP_GROUPS_IDLE_SECONDS needs the right to delete",
    ),
    ({"externalRedis": {"usersSecret": "s"}}, r"redis\.enabled is true, so externalRedis\.usersSecret"),
    (
        {"redis": {"enabled": False}, "externalRedis": {"url": "redis://u@a:1/0", "usersSecret": "s"}},
        r"externalRedis\.usersSecret gives each service a user of its own",
    ),
    ({"redis": {"image": "redis:latest"}}, r"redis\.image ends with :latest"),
    ({"image": {"tag": "latest"}}, r"services\.\w+: the image's tag is latest.*image\.tag"),
    (
        {"services": {"order": {"autoscaling": {"mode": "keda", "minReplicas": 11}}}},
        r"services\.order: autoscaling\.minReplicas \(11\) is more than autoscaling\.maxReplicas \(10\)",
    ),
    (
        {"services": {"order": {"autoscaling": {"mode": "hpa"}, "resources": {"requests": None}}}},
        r"services\.order: autoscaling\.mode is hpa.*resources\.requests\.cpu",
    ),
    ({"defaults": {"rollout": {"maxSurge": 0}}}, r"rollout\.maxUnavailable and rollout\.maxSurge are both 0"),
    (
        {"services": {"order": {"extraEnv": [{"name": "REDIS_URL", "value": "x"}]}}},
        r"services\.order: the variable REDIS_URL is set twice",
    ),
    ({"ingress": {"enabled": True, "hosts": ["a"]}}, r"ingress\.enabled is true, but the NetworkPolicies.*httpFrom"),
    ({"httpRoute": {"enabled": True}}, r"httpRoute\.enabled is true, but the NetworkPolicies.*httpFrom"),
    ({"ingress": {"enabled": True}, "networkPolicy": {"enabled": False}}, r"ingress\.hosts is empty"),
    ({"httpRoute": {"enabled": True}, "networkPolicy": {"enabled": False}}, r"httpRoute\.parentRefs is empty"),
    (
        {"ingress": {"enabled": True, "hosts": ["a"]}, "services": {"order": {"paths": []}}},
        r"ingress\.enabled is true, but no enabled service has paths",
    ),
    (
        {"ingress": {"enabled": True, "hosts": ["a"]}, "networkPolicy": {"enabled": False}},
        r"ingress\.enabled is true, but services\.order asks for no tokens.*AUTH_JWKS.*ingress\.withoutTokens=true",
    ),
    (
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}]}, "networkPolicy": {"enabled": False}},
        r"httpRoute\.enabled is true, but services\.order asks for no tokens.*httpRoute\.withoutTokens=true",
    ),
    (
        at(rendering.case("management"), ("services", "order", "settings", "AUTH_JWKS"), None),
        r"services\.order asks for no tokens",
    ),
    ({"managementPort": 8002}, r"managementPort \(8002\) is the port of services\.inventory"),
    ({"managementPort": 80}, "managementPort"),
    (
        {"redis": {"enabled": False}, "defaults": {"enabled": False}, "externalRedis": {"url": "redis://a:1/0"}},
        "nothing is enabled",
    ),
    ({"defaults": {"replicas": -1}}, "replicas"),
    ({"redis": {"maxmemory": "lots"}}, "maxmemory"),
    ({"keyPrefix": "a b"}, "keyPrefix"),
    ({"image": None}, "image"),
    ({"defaults": {"drainSeconds": None}}, "drainSeconds"),
    ({"services": {"order": {"drainSeconds": -1}}}, "drainSeconds"),
    ({"services": {"orders": {}}}, "orders"),
    ({"defaults": {"settings": {"LOG_LEVL": "INFO"}}}, "LOG_LEVL"),
    ({"services": {"notification": {"settings": {"SMTP_URL": "smtp://user:word@host"}}}}, "SMTP_URL"),
    ({"otlp": {"endpoint": "collector"}}, "endpoint"),
    (alerting("eventsWait", {"for": "soon"}), "monitoring/prometheusRule/alerts/eventsWait/for"),
    (alerting("eventsWait", {"for": "5"}), "monitoring/prometheusRule/alerts/eventsWait/for"),
    (alerting("eventsWait", {"for": None}), "alerts/eventsWait'.*'for'"),
    (alerting("eventsWait", {"seconds": 0}), "monitoring/prometheusRule/alerts/eventsWait/seconds"),
    (alerting("requestsFail", {"percent": 100}), "monitoring/prometheusRule/alerts/requestsFail/percent"),
    (alerting("requestsFail", {"percent": "5%"}), "monitoring/prometheusRule/alerts/requestsFail/percent"),
]


@pytest.mark.parametrize(("values", "message"), BAD, ids=[json.dumps(values) for values, _ in BAD])
def test_a_bad_value_gets_a_message_that_names_it(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError, match=f"(?s){message}"):
        render(values)


@pytest.mark.parametrize(
    "values",
    [
        {"redis": {"maxmemory": "768mb"}},
        {"redis": {"maxmemory": "3gb", "resources": {"limits": {"memory": "4Gi"}}}},
        {"redis": {"maxmemory": "700mb", "resources": {"limits": {"memory": None}}}},
        {"redis": {"maxmemory": "700mb", "resources": {"limits": {"memory": "1G"}}}},
        {"defaults": {"drainSeconds": 20, "preStopSleepSeconds": 5, "terminationGracePeriodSeconds": 30}},
        {"services": {"order": {"autoscaling": {"mode": "keda", "minReplicas": 10}}}},
        {"services": {"order": {"autoscaling": {"minReplicas": 11}}}},
        {"defaults": {"enabled": False}},
        {"defaults": {"settings": {"STATE_KEEP_DAYS": 90}}},
        {"services": {"inventory": {"settings": {"STATE_KEEP_DAYS": "31"}}}},
        {"services": {"order": {"settings": {"STATE_KEEP_DAYS": 31}}, "inventory": {"enabled": False}}},
    ],
    ids=json.dumps,
)
def test_a_value_at_the_limit_is_taken(values: dict[str, Any]) -> None:
    assert render(values)


def test_a_release_name_that_no_service_may_have_is_refused() -> None:
    with pytest.raises(HelmError, match='release\'s name "1shop" starts with a digit'):
        render(name="1shop")
    assert render({"fullnameOverride": "shop"}, name="1shop")


def test_zero_false_and_empty_lists_win_over_defaults() -> None:
    own = {"replicas": 0, "pdb": {"enabled": False}, "topologySpreadConstraints": [], "preStopSleepSeconds": 0}
    manifests = render({"services": {"order": own}})
    deployment = only(manifests, "Deployment", "shop-order")
    assert deployment["spec"]["replicas"] == 0
    assert "topologySpreadConstraints" not in deployment["spec"]["template"]["spec"]
    assert "lifecycle" not in container(manifests, "order")
    assert [each["metadata"]["name"] for each in rendering.of_kind(manifests, "PodDisruptionBudget")] == [
        "shop-inventory",
        "shop-notification",
    ]


def test_maps_are_merged_lists_replaced_and_null_takes_away() -> None:
    values = {
        "defaults": {"podLabels": {"a": "1", "b": "2"}, "tolerations": [{"key": "x"}], "affinity": {"podAffinity": {}}},
        "services": {
            "order": {
                "podLabels": {"b": "3"},
                "tolerations": [{"key": "y"}],
                "affinity": None,
                "resources": {"limits": {"memory": None}},
            }
        },
    }
    manifests = render(values)
    pod = only(manifests, "Deployment", "shop-order")["spec"]["template"]
    assert {"a": "1", "b": "3"}.items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["tolerations"] == [{"key": "y"}]
    assert "affinity" not in pod["spec"]
    assert not container(manifests, "order")["resources"]["limits"]
    assert container(manifests, "order")["resources"]["requests"] == {"cpu": "100m", "memory": "96Mi"}
    assert container(manifests, "inventory")["resources"]["limits"] == {"memory": "256Mi"}


NULLABLE = [leaf for leaf in LEAVES if str(leaf.hint.get("$ref", "")).endswith(("s", "object"))]


@pytest.mark.parametrize("case", ["default", "monitoring", "keda"])
def test_maps_and_lists_may_be_null(case: str) -> None:
    values = rendering.case(case)
    for leaf in NULLABLE:
        values = at(values, leaf.path, None)
        if leaf.path[0] == "defaults":
            values = at(values, ("services", "inventory", *leaf.path[1:]), None)
    assert render(values)


def test_large_numbers_are_written_out() -> None:
    manifests = render({"defaults": {"settings": {"STREAM_CAP": 2000000, "HEARTBEAT_SECONDS": 0.5}}})
    variables = environment(manifests, "order")
    assert (variables["STREAM_CAP"], variables["HEARTBEAT_SECONDS"]) == ("2000000", "0.5")


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_prefix_service_and_tag(name: str) -> None:
    assert container(render(), name)["image"] == f"localhost/ecommerce/{name}:0.1.0"
    named = render({"image": {"prefix": "example.com:5000/shop", "tag": "7"}})
    assert container(named, name)["image"] == f"example.com:5000/shop/{name}:7"
    digest = "sha256:" + "1" * 64
    own = {"repository": "example.com/mine", "tag": "8", "digest": digest}
    assert container(render({"services": {name: {"image": own}}}), name)["image"] == f"example.com/mine@{digest}"
    own |= {"digest": ""}
    assert container(render({"services": {name: {"image": own}}}), name)["image"] == "example.com/mine:8"


def test_readme_and_schema_are_what_the_values_file_says() -> None:
    stale = [path.name for path, text in chart_reference.generated().items() if path.read_text() != text]
    assert stale == [], "run scripts/render-manifests"


def test_a_value_without_a_description_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"a\.b has no description"):
        chart_reference.read_values("a:\n  b: 1\n")


def test_every_values_file_is_one_of_the_cases() -> None:
    assert {"keda", "hpa", "monitoring", "external-tls", "sentinel", "release-a", "release-b"} < set(CASES)
