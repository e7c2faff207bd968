"""The suite's own hands and ears inside the cluster; stands alone, on what a service's image has.

[serve]             receives webhooks, and tells which; the pod's main program
relay               does what comes on standard input, a JSON object a line, and answers on standard output
knock HOST PORT     says whether a TCP connection can be made
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

PORT = 8099
_LONGEST_LINE = 64 * 1024 * 1024


class Receiver:
    """Answers each webhook after `delay` seconds, and keeps its order's id and its own."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.received: list[tuple[str, str]] = []

    async def receive(self, request: web.Request) -> web.Response:
        """A customer is told."""
        content = await request.json()
        self.received.append((content["data"]["orderId"], request.headers["webhook-id"]))
        await asyncio.sleep(self.delay)
        return web.Response(status=204)

    async def tell(self, request: web.Request) -> web.Response:
        """Which webhooks have been received, beginning with number `after`."""
        return web.json_response(self.received[int(request.query["after"]) :])

    async def set_delay(self, request: web.Request) -> web.Response:
        """How long each takes from now on."""
        self.delay = float((await request.json())["seconds"])
        return web.Response(status=204)


def serve() -> None:
    """Receive webhooks until SIGTERM."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhooks", receiver.receive)
    app.router.add_get("/webhooks", receiver.tell)
    app.router.add_put("/delay", receiver.set_delay)
    host = os.environ.get("HOST")  # without one on all addresses, of both families
    web.run_app(app, host=host, port=PORT, access_log=None, print=None, shutdown_timeout=0.1)


class Relay:
    """Carries requests to services and commands to Redis."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._redis: Any = None

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """What came of one line of input."""
        try:
            kinds = {"http": self._http, "redis": self._command, "time": self._time}
            return {"id": job["id"], "answer": await kinds[job["do"]](job)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side decides
            return {"id": job["id"], "error": f"{type(error).__name__}: {error}"}

    async def _http(self, job: dict[str, Any]) -> dict[str, Any]:
        request = self._session.request(job["method"], job["url"], json=job.get("json"), headers=job.get("headers"))
        async with request as response:
            is_json = "json" in response.headers.get("Content-Type", "")
            content = await response.json(content_type=None) if is_json else await response.text()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return {"status": response.status, "content": content, "headers": headers}

    async def _command(self, job: dict[str, Any]) -> Any:
        if self._redis is None:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            password = await asyncio.to_thread(Path(os.environ["REDIS_PASSWORD_FILE"]).read_text)
            self._redis = Redis.from_url(
                os.environ["REDIS_URL"],
                password=password.rstrip("\r\n"),
                protocol=2,
                decode_responses=True,
                socket_timeout=5,
                socket_connect_timeout=5,
                retry=Retry(NoBackoff(), 0),
            )
            self._redis.response_callbacks.clear()  # replies as the server gives them
        return await self._redis.execute_command(*job["command"])

    async def _time(self, job: dict[str, Any]) -> float:
        return time.time()


async def relay() -> None:
    """Do what comes, all at once, until standard input ends."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # Every connection is a new one: a kept one would tell nothing of where a Service sends its clients.
    connector = aiohttp.TCPConnector(force_close=True, limit=0, ttl_dns_cache=1)
    # A Service without endpoints refuses the first connections and is silent to the others, so they are not waited for.
    timeout = aiohttp.ClientTimeout(total=10, sock_connect=2)
    jobs: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        hands = Relay(session)

        async def do(line: bytes) -> None:
            print(json.dumps(await hands.do(json.loads(line))), flush=True)

        print(json.dumps({"ready": True}), flush=True)
        while line := await reader.readline():
            job = asyncio.create_task(do(line))
            jobs.add(job)
            job.add_done_callback(jobs.discard)
        for job in jobs:
            job.cancel()


async def knock(host: str, at: str) -> None:
    """Say `open`, or why there is no connection."""
    try:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(host, int(at))
        writer.close()
        print("open")
    except (OSError, TimeoutError) as error:
        print(f"closed: {type(error).__name__}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [] | ["serve"]:
            serve()
        case ["relay"]:
            asyncio.run(relay())
        case ["knock", host, at]:
            asyncio.run(knock(host, at))
        case _:
            sys.exit(__doc__)
