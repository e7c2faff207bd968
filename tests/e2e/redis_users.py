"""Redis users for services under test: each may do what its code needs, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eventcore.cli.acl import rules_of

PROGRAMS = ("order_service", "inventory_service", "notification_service")
PASSWORD = "a service's own"
# Tried by each connection and at each start, and done without: the client's version, and the server's configuration.
DISPENSABLE = frozenset({"client|setinfo", "config|get"})


def write_acl_file(path: Path, *, default_password: str, prefix: str = "") -> None:
    """An ACL file with all users, and the default user who may do everything."""
    users = {"default": "resetkeys ~* &* +@all", **rules_of(PROGRAMS, prefix=prefix)}
    digests = {name: default_password if name == "default" else PASSWORD for name in users}
    lines = [
        f"user {name} on #{hashlib.sha256(digests[name].encode()).hexdigest()} {rules}" for name, rules in users.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def login(user: str, url: str) -> dict[str, str]:
    """The settings by which this user gets in."""
    place = urlsplit(url)
    return {
        "REDIS_URL": place._replace(netloc=f"{user}@{place.hostname}:{place.port}").geturl(),
        "REDIS_PASSWORD": PASSWORD,
    }


def denied(acl_log: Iterable[Any]) -> list[str]:
    """What the reply to `ACL LOG` (without callbacks, as texts) says was denied and can't be done without."""
    entries: list[Mapping[str, Any]] = [dict(zip(row[::2], row[1::2], strict=True)) for row in acl_log]
    return [
        f"{each['username']} was denied {each['reason']} {each['object']} ({each['context']}, {each['count']} times)"
        for each in entries
        if each["object"] not in DISPENSABLE and each["reason"] != "auth"
    ]
