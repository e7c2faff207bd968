"""Writes the rules of the chart's Redis users, as `eventcore acl` has them; `scripts/render-manifests` does so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from eventcore.cli.acl import activity
from eventcore.commit.durability import Durability
from eventcore.events.personal_data import declared
from eventcore.operate.access import users
from scripts.chart_reference import ROOT, SERVICES

DOCUMENT = ROOT / "deploy/helm/ecommerce/files/redis-users.json"
# Stands for the value `keyPrefix` in the rules.
PREFIX = "@KEY_PREFIX@"


def rules(durability: Durability) -> dict[str, str]:
    """The rules of all users by name, where orders are as durable as that."""
    services = [activity(f"{name}_service", PREFIX) for name in SERVICES]
    services = [replace(each, durability=durability) if each.name == "order-service" else each for each in services]
    return {user.name: user.rules for user in users(services, prefix=PREFIX, personal=declared())}


def generated() -> dict[Path, str]:
    """What the file ought to hold."""
    return {DOCUMENT: json.dumps({each.value: rules(each) for each in Durability}, indent=2) + "\n"}
