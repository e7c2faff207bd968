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
    spans = 0

    async def receive(request: web.Request) -> web.Response:
        nonlocal spans
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        spans += sum(len(scope.spans) for each in sent.resource_spans for scope in each.scope_spans)
        return web.Response(content_type="application/x-protobuf")

    async def anything_else(request: web.Request) -> web.Response:
        return web.Response(text=str(spans))

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/traces", receive)
    app.router.add_route("*", "/{any:.*}", anything_else)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
