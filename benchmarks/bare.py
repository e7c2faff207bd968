"""The least that a POST of an order can cost with aiohttp: the same body validated, and nothing else.

`python -m benchmarks.bare PORT`. It touches no Redis, so it is faster than anything that keeps an order.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from eventcore import new_id
from order_service.api import PlaceOrder


async def post(request: web.Request) -> web.Response:
    """Validate, and answer as the order service does."""
    PlaceOrder.model_validate_json(await request.read())
    return web.json_response({"id": new_id(), "status": "processing"}, status=202)


async def ready(request: web.Request) -> web.Response:
    """Always."""
    return web.Response()


async def main(port: int) -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_post("/orders", post)
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
