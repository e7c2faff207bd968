"""The listener: takes the port, and is polite even to those who don't speak HTTP."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable

from aiohttp import web

from .correlation import correlation_id, header
from .problems import Problem

log = logging.getLogger(__name__)

BACKLOG = 1024
# What the kernel says where it has no IPv6, or has it switched off.
NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


class CannotListen(Exception):
    """The port is taken, or the host is not ours; the message says which."""


class Connection(web.RequestHandler):
    """aiohttp's connection; what is no HTTP is answered with a problem too, and doesn't fill the log."""

    __slots__ = ("on_lost",)

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        # No line for every request: metrics and traces say more at less cost.
        super().__init__(manager, loop=loop, access_log=None)  # type: ignore[arg-type] # None is its word for it
        self.on_lost = on_lost

    @property
    def idle(self) -> bool:
        """Whether no request is being answered on it."""
        return self.transport is not None and not self._request_in_progress

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room for another one."""
        super().connection_lost(exc)
        self.on_lost()

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
    """A listening socket; without a host on all addresses, IPv6 and IPv4. Raises `CannotListen`."""
    try:
        if host in ("", "::"):
            return _on_all_addresses(port)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server((address[0], port), family=family, backlog=BACKLOG)
    except OSError as error:
        # Names that can't be resolved have numbers of their own, below zero.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise CannotListen(f"HOST, PORT: can't listen on {shown(host, port)}: {reason}") from error


def _on_all_addresses(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104 - on all its interfaces is meant


def shown(host: str, port: int) -> str:
    """An address for people."""
    if not host:
        return f"port {port} of all addresses"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
