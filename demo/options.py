"""What the demo can be told: one word on the command line, the rest in the environment (`make demo NAME=value`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .orders import DEFAULT_COUNT, MOST_ORDERS

USAGE = f"""\
python -m demo        run the whole system, replay orders through it, check and print what happened
python -m demo up     run the whole system and stay up until Ctrl-C

Settings are environment variables (`make demo COUNT=500`):
  COUNT                         how many orders to replay, at most ({DEFAULT_COUNT:,} generated ones by default)
  PRODUCTS and ORDERS           CSV files: productID,unitsInStock and orderID,productID,quantity, in file order
  BASKETS                       a file with the product codes of one basket a line, plain or gzip
  INVENTORY_REPLICAS            processes of the inventory service (1)
  ORDER_LISTEN, INVENTORY_LISTEN, NOTIFICATION_LISTEN
                                ports; `up` takes 8001, 8002 and 8003 by default, the demo free ones
`up` replays orders first if COUNT, BASKETS or PRODUCTS and ORDERS are set."""

SERVICES = ("order", "inventory", "notification")


class UsageError(Exception):
    """Something was told that makes no sense; the message is one line."""


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    command: Literal["demo", "up"] = "demo"
    products: Path | None = None
    orders: Path | None = None
    baskets: Path | None = None
    count: int | None = None
    inventory_replicas: int = 1
    ports: Mapping[str, int] = field(default_factory=dict)
    """The ports that were asked for, by service."""

    @property
    def replays(self) -> bool:
        """Whether orders are replayed: always by `demo`, by `up` only if it is told which."""
        return self.command == "demo" or any((self.orders, self.baskets, self.count))


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Raises `UsageError`."""
    if list(arguments) not in ([], ["up"]):
        raise UsageError(f"unknown arguments: {' '.join(arguments)}; python -m demo --help says what there is")
    products, orders, baskets = (_path(environment, name) for name in ("PRODUCTS", "ORDERS", "BASKETS"))
    if bool(products) != bool(orders):
        missing, given = ("ORDERS", "PRODUCTS") if products else ("PRODUCTS", "ORDERS")
        raise UsageError(f"{given} is set and {missing} is not: they go together")
    if orders and baskets:
        raise UsageError("BASKETS is set as well as PRODUCTS and ORDERS: choose one")
    ports = {service: _number(environment, f"{service.upper()}_LISTEN", 65_535) for service in SERVICES}
    chosen = {service: port for service, port in ports.items() if port is not None}
    if len(set(chosen.values())) < len(chosen):
        raise UsageError("two services can't listen on one port: ORDER_LISTEN, INVENTORY_LISTEN, NOTIFICATION_LISTEN")
    return Options(
        command="up" if arguments else "demo",
        products=products,
        orders=orders,
        baskets=baskets,
        count=_number(environment, "COUNT", MOST_ORDERS),
        inventory_replicas=_number(environment, "INVENTORY_REPLICAS", 16) or 1,
        ports=chosen,
    )


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    return Path(environment[name]).expanduser() if environment.get(name) else None


def _number(environment: Mapping[str, str], name: str, most: int) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise UsageError(f"{name}: {text!r} is not a whole number from 1 to {most:,}")
    return int(text)
