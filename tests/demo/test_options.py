"""What is asked for in the environment is understood, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.options import Options, UsageError, read


def test_nothing_said_is_the_default_demo() -> None:
    assert read([], {"PATH": "/bin", "COUNT": ""}) == Options()


def test_up_replays_only_if_it_is_told_what() -> None:
    assert read([], {}).replays
    assert not read(["up"], {}).replays
    assert read(["up"], {"COUNT": "10"}).replays
    assert read(["up"], {"BASKETS": "b.csv"}).replays
    assert read(["up"], {"PRODUCTS": "p.csv", "ORDERS": "o.csv"}).replays


def test_everything_can_be_said() -> None:
    said = {
        "PRODUCTS": "p.csv",
        "ORDERS": "o.csv",
        "COUNT": "7",
        "INVENTORY_REPLICAS": "3",
        "ORDER_LISTEN": "9001",
    }
    assert read(["up"], said) == Options(
        "up", products=Path("p.csv"), orders=Path("o.csv"), count=7, inventory_replicas=3, ports={"order": 9001}
    )


def test_links_that_kubernetes_injects_mean_nothing() -> None:
    links = {"ORDER_PORT": "tcp://10.0.0.1:8001", "ORDER_SERVICE_PORT": "8001", "ORDER_PORT_8001_TCP_PORT": "8001"}
    assert read([], links) == Options()


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["down"], {}, "unknown arguments: down"),
        ([], {"COUNT": "0"}, "COUNT: '0' is not a whole number from 1 to 200,000"),
        ([], {"COUNT": "many"}, "COUNT: 'many' is not"),
        ([], {"COUNT": "200001"}, "COUNT: '200001' is not"),
        ([], {"ORDER_LISTEN": "70000"}, "ORDER_LISTEN: '70000' is not a whole number from 1 to 65,535"),
        ([], {"ORDER_LISTEN": "9000", "INVENTORY_LISTEN": "9000"}, "two services can't listen on one port"),
        ([], {"PRODUCTS": "p.csv"}, "PRODUCTS is set and ORDERS is not"),
        ([], {"ORDERS": "o.csv"}, "ORDERS is set and PRODUCTS is not"),
        ([], {"PRODUCTS": "p", "ORDERS": "o", "BASKETS": "b"}, "choose one"),
    ],
)
def test_nonsense_is_refused_in_one_line(arguments: list[str], environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        read(arguments, environment)
    assert "\n" not in str(caught.value)
