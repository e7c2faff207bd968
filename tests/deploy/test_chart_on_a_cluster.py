"""What `helm install` and `helm upgrade` do with what is there: Helm itself, and a cluster that only remembers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from helm_python import Config, HelmError

from tests.deploy import cluster, rendering
from tests.deploy.cluster import Cluster


class Shop:
    """A release and the cluster that it is in."""

    def __init__(self, there: Cluster, helm: Config) -> None:
        self.there, self.helm = there, helm

    def install(self, **values: Any) -> None:
        self.helm.install(rendering.CHART, "shop", values)

    def upgrade(self, **values: Any) -> str:
        notes: str = self.helm.upgrade(rendering.CHART, "shop", values)["notes"]
        return notes

    def replicas(self, service: str = "inventory") -> Any:
        return self.there.get("Deployment", f"shop-{service}")["spec"].get("replicas")

    def password(self) -> str:
        return base64.b64decode(self.there.get("Secret", "shop-redis")["data"]["password"]).decode()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with (
        cluster.running() as there,
        Config(
            kube_apiserver=there.address, namespace="ns", storage_driver="memory", qps=1000, burst_limit=1000
        ) as helm,
    ):
        yield Shop(there, helm)


@pytest.mark.parametrize("count", [5, 0])
def test_an_upgrade_keeps_what_kubectl_has_scaled(shop: Shop, count: int) -> None:
    shop.install()
    assert shop.replicas() == 2
    shop.there.scale("shop-inventory", count)
    notes = shop.upgrade(defaults={"replicas": 3})
    assert shop.replicas() == count
    assert f"upgrades keep the number (now {count})" in notes


def test_an_upgrade_of_what_nobody_scaled_keeps_its_number_too(shop: Shop) -> None:
    shop.install(defaults={"replicas": 3})
    shop.upgrade()
    assert shop.replicas() == 3


def test_a_service_that_an_upgrade_adds_starts_with_the_value(shop: Shop) -> None:
    shop.install(services={"inventory": {"enabled": False}})
    shop.upgrade(services={"inventory": {"replicas": 4}})
    assert shop.replicas() == 4


def test_null_leaves_the_number_out_of_installations_and_upgrades(shop: Shop) -> None:
    shop.install(services={"inventory": {"replicas": None}})
    assert shop.replicas() is None
    shop.there.scale("shop-inventory", 5)
    shop.upgrade(services={"inventory": {"replicas": None}})
    assert shop.replicas() is None, "nothing is said about it, so the server keeps 5"


def test_the_cluster_of_these_tests_refuses_to_take_a_number_from_kubectl(shop: Shop) -> None:
    shop.install()
    deployment = shop.there.get("Deployment", "shop-inventory")
    shop.there.scale("shop-inventory", 5)
    path = "/apis/apps/v1/namespaces/ns/deployments/shop-inventory"
    assert shop.there.answer("PATCH", path, {**deployment, "spec": {"replicas": 2}})[0] == 409


def test_a_password_is_made_up_once_and_kept(shop: Shop) -> None:
    shop.install()
    first = shop.password()
    assert len(first) == 32
    assert first.isalnum()
    shop.upgrade()
    assert shop.password() == first


def test_a_password_from_the_values_wins_and_stays(shop: Shop) -> None:
    shop.install()
    shop.upgrade(redis={"auth": {"password": "of my own"}})
    assert shop.password() == "of my own"
    shop.upgrade()
    assert shop.password() == "of my own"


def test_each_redis_user_has_a_password_of_its_own_made_up_once_and_kept(shop: Shop) -> None:
    shop.install(redis={"acl": {"enabled": True}})
    first = shop.there.get("Secret", "shop-redis-users")["data"]
    assert len({*first.values(), base64.b64encode(shop.password().encode()).decode()}) == len(first) + 1
    shop.upgrade(redis={"acl": {"enabled": True}})
    assert shop.there.get("Secret", "shop-redis-users")["data"] == first


def test_two_releases_have_passwords_of_their_own(shop: Shop) -> None:
    shop.install()
    shop.helm.install(rendering.CHART, "other", {})
    other = base64.b64decode(shop.there.get("Secret", "other-redis")["data"]["password"]).decode()
    assert other != shop.password()


def test_a_bad_value_stops_before_anything_is_installed(shop: Shop) -> None:
    with pytest.raises(HelmError, match="terminationGracePeriodSeconds"):
        shop.install(defaults={"drainSeconds": 100})
    assert shop.there.objects == {}
