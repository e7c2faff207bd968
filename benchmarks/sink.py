"""An OTLP receiver that counts spans: `python -m benchmarks.sink PORT`; `GET /spans` says how many it got."""

from __future__ import annotations

import asyncio
import gzip
import sys

import uvloop
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


async def main(port: int) -> None:
    """Serve until killed."""
    bodies: list[bytes] = []

    async def receive(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    async def anything_else(request: web.Request) -> web.Response:
        # Only now, because Redis has the same core.
        return web.Response(text=str(sum(map(spans, bodies))))

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/traces", receive)
    app.router.add_route("*", "/{any:.*}", anything_else)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def spans(body: bytes) -> int:
    """How many are in a request."""
    sent = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    return sum(len(scope.spans) for each in sent.resource_spans for scope in each.scope_spans)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
