"""The driver for processes: a real server, real service processes, real signals, all on this machine."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from eventcore.testing import Server, ServerKind

from .asking import SERVICES, Answer, NoAnswer
from .driver import Exit, Kind, Layout, Pace, Version, Webhook
from .endpoints import Endpoints, Probe
from .proxy import Proxy
from .receiver import SECRET, Receiver
from .redis_users import denied, login, write_acl_file
from .replica import HOST, Replica, critical_lines, send
from .streams import RedisProblem

_REQUEST_SECONDS = 10.0
_PASSWORD = "the suite's own"
# With E2E_REDIS_USERS=1 each service is a Redis user of its own.
_own_users = os.environ.get("E2E_REDIS_USERS") == "1"


class Processes:
    """A system in a directory of the caller's, with data and logs.

    A few things are shorter than on Kubernetes, so that all scenarios fit into `make test`: a service is down for six
    seconds (and not a minute), which is still longer than the five after which a silent consumer is taken for dead.
    """

    kind: Kind = "process"
    pace = Pace(rate=30, orders=150, cut_seconds=10, down_seconds=6, outage_seconds=9, answer_seconds=5)

    def __init__(self, directory: Path, *, server: ServerKind = "valkey") -> None:
        self.exits: list[Exit] = []
        self._directory, self._server_kind = directory, server
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self._layout = Layout()
        self._replicas: list[Replica] = []
        self._all: list[Replica] = []
        self._proxies: dict[str, Proxy] = {}
        self._receiver = Receiver()
        self._probing: asyncio.Task[None] | None = None

    # Starting and stopping

    async def start(self, layout: Layout) -> None:
        """Start a system of its own."""
        self._layout = layout
        # Every connection is a new one: a kept one would tell nothing of where a Service sends its clients.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
        )
        options = {"appendfsync": "always" if layout.every_write_synced else "everysec"}
        if _own_users:
            users = self._directory / "redis" / "users.acl"
            write_acl_file(users, default_password=_PASSWORD)
            options["aclfile"] = str(users)
        self._server = Server(
            kind=self._server_kind,
            directory=self._directory / "redis",
            append_only=True,
            password=_PASSWORD,
            options=options,
        )
        await asyncio.to_thread(self._server.start)
        self._redis = Redis.from_url(
            self._server.url, protocol=2, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        self._redis.response_callbacks.clear()  # replies as the server gives them
        self._proxies = {service: await Proxy(HOST, self._server.port).start() for service in layout.cuttable}
        await self._receiver.start()
        await asyncio.gather(*(self._add(service, layout.replicas(service), layout.version) for service in SERVICES))
        self._endpoints = Endpoints(self.ask, Probe.of_the_chart())
        watch = self._endpoints.watch(lambda: [replica.name for replica in self._replicas])
        self._probing = asyncio.create_task(watch, name="readiness-probes")

    async def stop(self) -> Sequence[str]:
        """End everything, the services in order."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        alive = [replica for replica in self._all if replica.child.lives]
        ended = [*self.exits, *await asyncio.gather(*(replica.retire() for replica in alive))]
        self._replicas.clear()
        for proxy in self._proxies.values():
            await proxy.stop()
        await self._receiver.stop()
        refused = denied(await self._redis.execute_command("ACL", "LOG", 128)) if _own_users else []
        await self._redis.aclose()
        await self._session.close()
        await asyncio.to_thread(self._server.stop)
        problems = [
            f"{each.replica} ended with {each.status} after {each.seconds} s" for each in ended if not each.clean
        ]
        return problems + refused + [line for replica in self._all for line in critical_lines(replica)]

    # Asking

    def now(self) -> float:
        """This machine's clock."""
        return time.time()

    async def request(
        self, service: str, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Ask the replicas of a service in turn: those that Kubernetes would leave in its Service."""
        candidates = [each for each in self._replicas if each.service == service and self._endpoints.have(each.name)]
        if not candidates:
            raise NoAnswer(f"the Service of {service} has no endpoint")
        replica = candidates[next(self._turn) % len(candidates)]
        replica.under_way += 1
        try:
            return await send(self._session, method, f"{replica.url}{path}", json=json, headers=dict(headers))
        finally:
            replica.under_way -= 1

    async def ask(self, replica: str, path: str) -> Answer:
        """Ask one of them."""
        return await self._find(replica).ask(self._session, path)

    async def redis(self, *command: str | int) -> Any:
        """Run a command past every proxy."""
        try:
            return await self._redis.execute_command(*command)
        except (RedisError, OSError) as error:
            raise RedisProblem(f"{command[0]}: {error}") from error

    async def replicas(self, service: str) -> list[str]:
        """Those that serve."""
        return [replica.name for replica in self._replicas if replica.service == service]

    # Scaling and upgrading

    async def scale(self, service: str, replicas: int) -> None:
        """Start new ones, or end the newest."""
        there = [replica for replica in self._replicas if replica.service == service]
        version = there[-1].version if there else self._layout.version
        await self._add(service, replicas - len(there), version)
        await asyncio.gather(*map(self._retire, there[replicas:]))

    async def upgrade(self, services: Sequence[str], version: Version) -> None:
        """All services at once, their replicas one by one: first another that is ready, then the old one ends."""
        await asyncio.gather(*(self._upgrade(service, version) for service in services))

    async def _upgrade(self, service: str, version: Version) -> None:
        for old in [replica for replica in self._replicas if replica.service == service]:
            await self._add(service, 1, version)
            await self._retire(old)

    async def _add(self, service: str, count: int, version: Version) -> None:
        new = [self._launch(service, version) for _ in range(count)]
        await asyncio.gather(*(replica.ready(self._session) for replica in new))
        self._replicas += new

    def _launch(self, service: str, version: Version) -> Replica:
        proxy = self._proxies.get(service)
        port = self._server.port if proxy is None else proxy.port
        url = self._server.url.replace(f":{self._server.port}/", f":{port}/")
        settings = login(f"{service}-service", url) if _own_users else {"REDIS_URL": url}
        if service == "notification" and self._layout.webhooks:
            settings |= {"WEBHOOK_URL": self._receiver.url, "WEBHOOK_SECRET": SECRET}
        name = f"{service}-{version}-{next(self._numbers)}"
        replica = Replica(service, name, version, settings, self._directory)
        self._all.append(replica)
        return replica

    async def _retire(self, replica: Replica) -> None:
        self._replicas.remove(replica)
        self.exits.append(await replica.retire())

    async def retire(self, replica: str) -> None:
        """SIGTERM to one of them, and wait for its end."""
        await self._retire(self._find(replica))

    def _find(self, name: str) -> Replica:
        found = next((replica for replica in self._replicas if replica.name == name), None)
        if found is None:
            raise NoAnswer(f"{name} is gone")
        return found

    # Doing harm

    async def pause(self, replica: str) -> None:
        """SIGSTOP."""
        self._find(replica).signal(signal.SIGSTOP)

    async def resume(self, replica: str) -> None:
        """SIGCONT."""
        self._find(replica).signal(signal.SIGCONT)

    async def kill(self, replica: str) -> None:
        """SIGKILL. Nobody starts it again."""
        victim = self._find(replica)
        self._replicas.remove(victim)
        await asyncio.to_thread(victim.child.kill)

    async def kill_redis(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self._server.kill)

    async def take_redis_away(self) -> None:
        """By the same: nobody starts it again."""
        await self.kill_redis()

    async def start_redis(self) -> None:
        """On the same port, with the same data."""
        await asyncio.to_thread(self._server.start)

    async def restart_redis(self) -> None:
        """SIGTERM, then as before."""
        await asyncio.to_thread(self._server.restart)

    async def pause_redis(self, seconds: float) -> None:
        """SIGSTOP it for a while."""
        self._server.pause()
        await asyncio.sleep(seconds)
        self._server.resume()

    async def cut(self, service: str) -> None:
        """By the proxy before Redis."""
        self._proxies[service].cut()

    async def mend(self, service: str) -> None:
        """By the same."""
        self._proxies[service].mend()

    async def stranger(self) -> str:
        """Somebody without the password, and somebody with another one."""
        return f"{await self._try_in(None)} without the password, {await self._try_in('guessed')} with a wrong one"

    async def _try_in(self, password: str | None) -> str:
        port = urlsplit(self._server.url).port or 0
        client = Redis(host=HOST, port=port, password=password, protocol=2, retry=Retry(NoBackoff(), 0))
        try:
            await client.ping()
        except RedisError as error:
            return type(error).__name__
        finally:
            await client.aclose()
        raise AssertionError("a stranger was let in at Redis")

    # Webhooks and artefacts

    async def slow_webhooks(self, seconds: float) -> None:
        """By our own receiver."""
        self._receiver.delay = seconds

    async def webhooks(self) -> Sequence[Webhook]:
        """What our own receiver has received."""
        return self._receiver.received

    async def keep_artefacts(self, directory: Path) -> None:
        """The logs of all processes, those that have ended included, and the server's data."""
        await asyncio.to_thread(shutil.copytree, self._directory, directory, dirs_exist_ok=True)
