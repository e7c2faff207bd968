"""What a Redis must be like for streams that nobody may lose, and what is wrong with this one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eventcore.errors import Forbidden, SettingsError
from eventcore.settings import Settings

from .pipe import Pipe, Reply, ServerError

log = logging.getLogger(__name__)

# What is not allowed, has another name here, or isn't known to this server: then we can do without.
_DENIED = (Forbidden, ServerError)
# Scripts with flags, `lag`, and asking inside a script for rights.
OLDEST_VERSION = (7, 0)
# Asked of `CONFIG GET`; a user who may not run that is told less.
PARAMETERS = (
    "maxmemory-policy",
    "maxmemory",
    "save",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "min-replicas-to-write",
    "stream-node-max-bytes",
    "stream-node-max-entries",
)
# Trimming removes whole nodes, and reading unpacks them: a node may be larger than the default, but not by orders.
LARGEST_NODE_BYTES, LARGEST_NODE_ENTRIES = 65_536, 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A requirement that the server does not meet; `kind` is for programs.

    With one that is `refused` a service does not start. One that is not `grave` costs safety only together with others.
    """

    kind: str
    what: str
    way_out: str
    refused: bool = False
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.what}; {self.way_out}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of itself; `None` where the user's rights don't include asking."""

    info: Mapping[str, Any] | None
    config: Mapping[str, str] | None
    script_error: str = ""
    """Why it can't load a script of the kind that commits are."""

    def said(self, name: str) -> str:
        """A figure of `INFO`; empty where it is not said."""
        return str((self.info or {}).get(name, ""))

    def set_to(self, name: str) -> str | None:
        """A parameter of the configuration; `None` where it is not known."""
        return None if self.config is None else self.config.get(name)


def findings(facts: Facts) -> list[Finding]:
    """What is wrong, what is refused first."""
    found = [finding for check in _CHECKS for finding in check(facts)]
    return sorted(found, key=lambda each: not each.refused)


async def check_server(pipe: Pipe, settings: Settings) -> None:
    """Refuse a server that would lose orders by design; warn about all else. Raises `SettingsError`, `Unavailable`."""
    found = findings(await facts_of(pipe))
    refused = [
        each for each in found if each.refused and (each.kind, settings.eviction_policy) != ("may_evict", "warn")
    ]
    if refused:
        raise SettingsError("; ".join(map(str, refused)))
    for each in found:
        log.warning("Redis does not meet a requirement: %(finding)s", {"finding": each})


async def facts_of(pipe: Pipe) -> Facts:
    """Ask a server about itself. Raises `Unavailable` where it can't answer now."""
    info, config, script = await pipe.pipeline(
        [("INFO",), ("CONFIG", "GET", *PARAMETERS), ("SCRIPT", "LOAD", "#!lua flags=allow-oom\nreturn 1")]
    )
    for reply in (info, config, script):
        if isinstance(reply, Exception) and not isinstance(reply, _DENIED):
            raise reply
    return Facts(
        info=None if isinstance(info, _DENIED) else _lines(info),
        config=None if isinstance(config, _DENIED) else _pairs(config),
        script_error=str(script) if isinstance(script, ServerError) and "compiling" in str(script) else "",
    )


def _lines(report: bytes) -> dict[str, str]:
    lines = report.decode("utf-8", "replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def _pairs(reply: Reply) -> dict[str, str]:
    texts = [each.decode("utf-8", "replace") for each in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _unchecked(facts: Facts) -> Iterator[Finding]:
    if facts.info is None:
        what = "the Redis user may not run INFO: the server's persistence, memory and replicas are not checked"
        yield Finding("unchecked", what, "allow +info, or see docs/requirements.md", grave=False)


def _version(facts: Facts) -> Iterator[Finding]:
    version = facts.said("valkey_version") or facts.said("redis_version")
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    too_old = numbers is not None and (int(numbers[1]), int(numbers[2] or 0)) < OLDEST_VERSION
    if too_old or facts.script_error:
        why = facts.script_error or "it lacks scripts with flags"
        what = f"the server is of version {version or 'unknown'}, which is too old ({why})"
        yield Finding("too_old", what, "take Redis 7.0 or later, or any Valkey", refused=True)


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy = facts.said("maxmemory_policy") or facts.set_to("maxmemory-policy")
    if policy is None or policy == "":
        what = "the server's maxmemory-policy is not known: neither INFO nor CONFIG GET say it to this user"
        yield Finding("eviction_unknown", what, "make sure that it is noeviction", grave=False)
    elif policy != "noeviction":
        victims = "whole streams" if policy.startswith("allkeys") else "orders, reservations and idempotency keys"
        what = f"the server's maxmemory-policy is {policy}, which may evict {victims}"
        way_out = "set it to noeviction (or EVICTION_POLICY=warn to run anyway)"
        yield Finding("may_evict", what, way_out, refused=True)


def _memory_limit(facts: Facts) -> Iterator[Finding]:
    limit = facts.said("maxmemory") or facts.set_to("maxmemory")
    if limit == "0":
        what = "the server has no maxmemory: when memory is full it is killed, where it should refuse writes"
        yield Finding("no_memory_limit", what, "set maxmemory below what the machine or container has", grave=False)


def _persistence(facts: Facts) -> Iterator[Finding]:
    if facts.said("aof_enabled") != "0":
        return
    snapshots = facts.set_to("save")
    if snapshots == "":
        what = "the server keeps nothing on disk (no append-only file, no snapshots): a restart loses everything"
        yield Finding("no_persistence", what, "set appendonly yes")
    else:
        what = "the server has no append-only file: a crash loses all that came since the last snapshot on disk"
        yield Finding("no_append_only", what, "set appendonly yes", grave=False)


def _syncs(facts: Facts) -> Iterator[Finding]:
    if facts.said("aof_enabled") != "1":
        return
    if facts.set_to("appendfsync") == "no":
        what = "appendfsync is no: a power cut loses what the system has not written to disk, often half a minute"
        yield Finding("never_synced", what, "set appendfsync everysec (or always)")
    elif facts.set_to("no-appendfsync-on-rewrite") == "yes":
        what = "no-appendfsync-on-rewrite is yes: during a rewrite a power cut loses more than a second"
        yield Finding("not_synced_on_rewrite", what, "set it to no", grave=False)


def _failing(facts: Facts) -> Iterator[Finding]:
    """What is not said is well: servers in managed services leave some of it out."""
    if "err" in (facts.said("aof_last_write_status"), facts.said("aof_last_bgrewrite_status")):
        what = "the append-only file can't be written: writes may be refused, or lost"
        yield Finding("append_only_failing", what, "see the server's log; often the disk is full")
    if facts.said("rdb_last_bgsave_status") == "err":
        what = "the last snapshot failed: writes may be refused"
        yield Finding("snapshots_failing", what, "see the server's log; often the disk is full, or memory short")


def _replicas(facts: Facts) -> Iterator[Finding]:
    # INFO has this figure only where min-replicas-to-write (and min-replicas-max-lag) are set.
    guarded = facts.said("min_slaves_good_slaves") or (facts.set_to("min-replicas-to-write") or "0") != "0"
    if facts.said("role") == "master" and facts.said("connected_slaves") not in ("", "0") and not guarded:
        what = (
            "the server has replicas, but no min-replicas-to-write: cut off from them it goes on accepting orders, "
            "which a failover then loses"
        )
        yield Finding("no_min_replicas", what, "set min-replicas-to-write 1 and min-replicas-max-lag 10", grave=False)


def _nodes(facts: Facts) -> Iterator[Finding]:
    for name, largest in (
        ("stream-node-max-bytes", LARGEST_NODE_BYTES),
        ("stream-node-max-entries", LARGEST_NODE_ENTRIES),
    ):
        value = facts.set_to(name)
        if value is not None and value.isdecimal() and not 0 < int(value) <= largest:
            what = f"{name} is {value}: streams are hardly trimmed, and reading them is slow"
            default = "4096" if name.endswith("bytes") else "100"
            yield Finding("large_nodes", what, f"set it back to {default}, the default", grave=False)


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _unchecked,
    _version,
    _eviction,
    _memory_limit,
    _persistence,
    _syncs,
    _failing,
    _replicas,
    _nodes,
)
