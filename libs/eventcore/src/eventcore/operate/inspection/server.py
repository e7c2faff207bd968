"""What there is to know of the server itself: memory, persistence, role. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from eventcore.server.requirements import PARAMETERS, Facts, Finding, findings

from .ids import text


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server at one moment. Memory is in bytes, as the server counts it against its limit; `None` is no limit."""

    version: str
    is_replica: bool
    memory: int
    memory_limit: int | None
    eviction_policy: str
    clients: int
    commands: float
    """So many it runs a second, lately."""
    append_only: bool
    append_only_ok: bool
    """Whether the last write to the append-only file, and its last rewrite, went well."""
    snapshots_ok: bool
    """Whether the last snapshot went well; one that failed may make the server refuse writes."""
    findings: tuple[Finding, ...] = ()
    """The requirements that it does not meet."""

    @property
    def memory_used(self) -> float | None:
        """The part of the limit that is used."""
        return self.memory / self.memory_limit if self.memory_limit else None


async def server_state(redis: Redis) -> ServerState | None:
    """The server's own figures; `None` where the user's rights do not include `INFO`."""
    try:
        info: dict[str, Any] = await redis.info()
    except NoPermissionError:
        return None
    return state_of(info, await _config(redis))


async def _config(redis: Redis) -> Mapping[str, str] | None:
    try:
        said: dict[Any, Any] = await redis.config_get(*PARAMETERS)
    except ResponseError:  # not allowed, or renamed
        return None
    return {text(name): text(value) for name, value in said.items()}


def state_of(info: Mapping[str, Any], config: Mapping[str, str] | None = None) -> ServerState:
    """From what `INFO` says. Servers in managed services leave some of it out: what is not said is well."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    return ServerState(
        version=f"{name} {info.get('valkey_version') or info.get('redis_version', '?')}",
        is_replica=info.get("role") == "slave",
        memory=int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0)),
        memory_limit=int(info.get("maxmemory", 0)) or None,
        clients=int(info.get("connected_clients", 0)),
        commands=float(info.get("instantaneous_ops_per_sec", 0)),
        eviction_policy=str(info.get("maxmemory_policy", "")),
        append_only=info.get("aof_enabled") == 1,
        append_only_ok=all(info.get(f"aof_last_{each}_status", "ok") == "ok" for each in ("write", "bgrewrite")),
        snapshots_ok=info.get("rdb_last_bgsave_status", "ok") == "ok",
        findings=tuple(findings(Facts(info, config))),
    )
