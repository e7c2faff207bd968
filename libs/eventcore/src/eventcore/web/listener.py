"""The listener: takes the port, serves HTTP on it, and is polite even to those who don't speak HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

from aiohttp import web

from .correlation import correlation_id, header
from .problems import Problem

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The port is taken, or the host is not ours; the message says which."""


class Connection(web.RequestHandler):
    """aiohttp's connection; what is no HTTP is answered with a problem too, and doesn't fill the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what can't be parsed (400), and what went wrong outside of the application (500)."""
        if status >= 500:
            log.error("could not answer %s", request.remote, exc_info=exc)
        else:
            log.debug("%s does not speak HTTP: %s", request.remote, exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        response = Problem(status).response(correlation_id(request))
        response.headers[header] = correlation_id(request)
        response.force_close()
        return response


def take_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `CannotListen`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server((address[0], port), family=family, backlog=1024)
    except OSError as error:
        # Names that can't be resolved have numbers of their own, below zero.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise CannotListen(f"HOST, PORT: can't listen on {host}:{port}: {reason}") from error


async def serve(runner: web.AppRunner, listening: socket.socket) -> asyncio.Server:
    """Serve the runner's application, which must be set up, until the result is closed."""
    loop = asyncio.get_running_loop()

    def connection() -> Connection:
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        # No line for every request: metrics and traces say more at less cost.
        return Connection(runner.server, loop=loop, access_log=None)  # type: ignore[arg-type] # None is its word for it

    return await loop.create_server(connection, sock=listening)
