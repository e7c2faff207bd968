"""What scenarios ask of a system, whether it consists of processes or of pods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from .asking import Answer, Http
from .streams import Redis

Kind = Literal["process", "kind"]

# `next` writes newer minor versions of events; `major` writes `order.created` 2.0, which the others don't understand.
Version = Literal["today", "next", "major"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a system shall stand when a scenario begins. All else is as by default, heartbeats and timeouts included."""

    order: int = 1
    inventory: int = 1
    notification: int = 1
    version: Version = "today"
    every_write_synced: bool = False
    """Whether Redis syncs its append-only file before it answers: nothing acknowledged is lost when it is killed."""
    cuttable: tuple[str, ...] = ()
    """Which services will be cut from Redis."""
    webhooks: bool = False
    """Whether customers are told by webhook (and not in the log)."""

    def replicas(self, service: str) -> int:
        """How many of a service there shall be."""
        return {"order": self.order, "inventory": self.inventory, "notification": self.notification}[service]


class Exit(NamedTuple):
    """How a replica ended that was asked to: its status and the seconds that it took, `in_time` by its grace period."""

    replica: str
    status: int | None
    seconds: float
    in_time: bool

    @property
    def clean(self) -> bool:
        """Whether it ended as it should."""
        return self.status == 0 and self.in_time


class Webhook(NamedTuple):
    """A webhook as it was received."""

    order_id: str
    webhook_id: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard and how long a driver's scenarios are: processes share two cores with other tests."""

    rate: float
    """Orders a second."""
    orders: int
    """So many at least."""
    cut_seconds: float
    down_seconds: float
    outage_seconds: float
    """How long Redis is away."""
    answer_seconds: float
    """Within which a Service must answer then."""
    settle_seconds: float = 60.0


class NotHere(Exception):
    """This system can't do what a scenario needs; the message says why."""


class Driver(Http, Redis, Protocol):
    """A whole system: three services, their Redis, and hands to do harm. Methods raise `Broken` where they can't."""

    kind: Kind
    pace: Pace

    @property
    def exits(self) -> Sequence[Exit]:
        """How replicas have ended that were asked to end, since `start`."""

    async def start(self, layout: Layout) -> None:
        """Bring the system to this layout, every replica ready."""

    async def stop(self) -> Sequence[str]:
        """End what `start` began; what did not end as it should, in words."""

    def now(self) -> float:
        """The system's clock, in seconds since 1970."""

    async def replicas(self, service: str) -> list[str]:
        """The names of the living replicas of a service, which are their consumers' names."""

    async def ask(self, replica: str, path: str) -> Answer:
        """Ask one replica. Raises `NoAnswer`."""

    async def scale(self, service: str, replicas: int) -> None:
        """Return when so many are ready, and those that are too many have gone (by SIGTERM)."""

    async def upgrade(self, services: Sequence[str], version: Version) -> None:
        """Replace replicas by those of another version, each by a ready one before it is asked to end."""

    async def pause(self, replica: str) -> None:
        """Stop it by SIGSTOP."""

    async def resume(self, replica: str) -> None:
        """Let it go on by SIGCONT."""

    async def kill(self, replica: str) -> None:
        """End it by SIGKILL, whether it is paused or not. On Kubernetes it starts again under the same name."""

    async def kill_redis(self) -> None:
        """End Redis by SIGKILL; return when it is down."""

    async def take_redis_away(self) -> None:
        """End Redis; return when it is down, and stays so until `start_redis`."""

    async def start_redis(self) -> None:
        """Return when Redis answers again, with what it has kept."""

    async def cut(self, service: str) -> None:
        """Let nothing through between a service and Redis, in silence: no connection is refused or reset."""

    async def mend(self, service: str) -> None:
        """Let everything through again."""

    async def stranger(self) -> str:
        """Let a stranger try to use Redis: how it was refused. Raises `AssertionError` if it wasn't."""

    async def slow_webhooks(self, seconds: float) -> None:
        """Let the receiver of webhooks take so long for each from now on."""

    async def webhooks(self) -> Sequence[Webhook]:
        """All that were received since `start`."""

    async def keep_artefacts(self, directory: Path) -> None:
        """Write down what tells why a scenario failed: logs, and how things stand."""


class Broken(Exception):
    """The system did not do what it was told; the message says what, with the end of a log."""
