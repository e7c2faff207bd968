"""The scenarios: what is done to the system, on which drivers, and what may not take longer than how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .driver import Kind, Layout
from .scenarios import cluster, crashes, cuts, scaling, upgrades

BOTH: tuple[Kind, ...] = ("process", "kind")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `recovers_within` is a promise, in seconds, about the slowest recovery in it.

    `detour` is what Kubernetes may add to it: probes find out what is ready, and Services learn of that.
    """

    name: str
    title: str
    play: Callable[[Any], Awaitable[None]]
    layout: Layout = field(default_factory=Layout)
    drivers: tuple[Kind, ...] = BOTH
    recovers_within: float | None = None
    detour: float = 0.0


SCENARIOS = (
    Scenario("S0", "install, helm test, privileged pod refused", cluster.install, drivers=("kind",)),
    Scenario("S1", "scale inventory 1 → 5", scaling.scale_up),
    Scenario(
        "S2",
        "SIGKILL consumers with work in hand",
        crashes.kill_consumers,
        Layout(inventory=2, notification=2, webhooks=True),
        recovers_within=10,
    ),
    Scenario("S3", "rolling upgrade", upgrades.roll_forward, recovers_within=2),
    Scenario(
        "S4", "rollback, newer events in the streams", upgrades.roll_back, Layout(version="next"), recovers_within=2
    ),
    Scenario("S4b", "newer major version waits for its reader", upgrades.newer_major),
    Scenario(
        "S5",
        "SIGKILL Redis, twice, then no Redis for a while",
        crashes.kill_redis,
        Layout(every_write_synced=True),
        recovers_within=10,
        detour=5,  # a readiness probe every 3 s, a new connection at most 2 s later
    ),
    Scenario("S6", "drain a node", cluster.drain, Layout(order=2, inventory=2, notification=2), drivers=("kind",)),
    Scenario("S7", "scale inventory 5 → 1", scaling.scale_down, Layout(inventory=5), recovers_within=10),
    Scenario(
        "S8", "cut inventory from Redis", cuts.cut_off, Layout(inventory=2, cuttable=("inventory",)), recovers_within=10
    ),
    Scenario("S9", "kubectl scale, then helm upgrade", cluster.scale_then_upgrade, drivers=("kind",)),
    Scenario("S10", "no inventory for a while", cuts.down, Layout(inventory=2)),
)


def on(kind: Kind, names: tuple[str, ...] = ()) -> list[Scenario]:
    """The scenarios of a driver: all, or those named. Raises `LookupError` for a name that is none of them."""
    here = [each for each in SCENARIOS if kind in each.drivers]
    unknown = set(names) - {each.name for each in here}
    if unknown:
        known = ", ".join(each.name for each in here)
        raise LookupError(f"{', '.join(sorted(unknown))}: not a scenario on {kind}; there are {known}")
    return [each for each in here if not names or each.name in names]
