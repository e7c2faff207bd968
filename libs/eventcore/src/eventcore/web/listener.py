"""The listener: takes the port, and answers what is not HTTP with a problem too."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Callable

from aiohttp import StreamReader, web

from eventcore.telemetry.measurements import clients_limited

from .clients import Clients
from .correlation import HEADER, correlation_id
from .problems import Problem

log = logging.getLogger(__name__)

BACKLOG = 4096  # or as many as the kernel allows
# For so long after it was let in, a client's first request may be on its way.
FRESH_SECONDS = 0.5
# How long to go on reading a body that was refused, so that its client comes to read the answer.
LINGERING_SECONDS = 5.0
# What may come beside bodies, which have limits of their own: line and headers together, sizes of chunks, trailers.
MOST_HEADER_BYTES = 32 * 1024
# A chunk of one byte takes six; so much beside each byte of a body is no header.
FRAMING = 8
# Of an answer that is not read, so much is not counted for each connection.
MOST_UNCOUNTED = 4 * 1024
# What the kernel takes for each connection: of what has come and was not looked at yet, and of answers.
MOST_INCOMING = 8 * 1024
MOST_UNSENT = 64 * 1024
# What the kernel says where it has no IPv6, or has it switched off.
NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


class CannotListen(Exception):
    """The port is taken, or the host is not ours; the message says which."""


class Connection(web.RequestHandler):
    """aiohttp's connection, with our limits; what is not HTTP is answered with a problem too."""

    __slots__ = (
        "_begun_at",
        "_beside_bodies",
        "_clients",
        "_held_up",
        "_made_at",
        "_on_lost",
        "_unfinished_body",
        "unread_since",
    )

    def __init__(self, server: web.Server, clients: Clients, on_lost: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            # No line for every request: metrics and traces say more at less cost.
            access_log=None,  # type: ignore[arg-type] # None is its word for it
            keepalive_timeout=clients.settings.http_idle_seconds,
            lingering_time=LINGERING_SECONDS,
            auto_decompress=False,  # it would unpack on the event loop, also what was refused
        )
        self._clients, self._on_lost = clients, on_lost
        self._begun_at = self.unread_since = 0.0
        self._beside_bodies = 0
        self._held_up = False
        # It has begun and not ended, whether its request is being answered, waits, or has been answered.
        self._unfinished_body: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It counts from now on."""
        super().connection_made(transport)
        self._made_at = time.monotonic()
        self._clients.connected.add(self)
        if isinstance(transport, asyncio.Transport):
            transport.set_write_buffer_limits(high=MOST_UNCOUNTED)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It no longer counts: there is room for another one."""
        # Cycles would keep answers and bodies until garbage is looked for: an error that is told to whoever waits to
        # write knows by its traceback what was to be written; requests that wait know their connection. These are not
        # forgotten at once, as aiohttp may be about to take one.
        super().connection_lost(None)
        self._clients.connected.discard(self)
        self._clients.unread.pop(self, None)
        self._unfinished_body = None
        asyncio.get_running_loop().call_soon(self._messages.clear)
        self._on_lost()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered on it."""
        return self.transport is not None and not self._request_in_progress

    @property
    def at_rest(self) -> bool:
        """Whether there is not even a part of a request on it."""
        return self.idle and not self._messages and not self._begun_at

    @property
    def is_fresh(self) -> bool:
        """Whether it was let in only now: its first request may be on its way, and closing would reset it."""
        return time.monotonic() - self._made_at < FRESH_SECONDS

    def data_received(self, data: bytes) -> None:
        """Note whether these bytes have begun a request without coming to its headers' end, and how many they are."""
        body = self._unfinished_body
        if body is None and len(data) > MOST_HEADER_BYTES and data.find(b"\r\n\r\n", 0, MOST_HEADER_BYTES) < 0:
            self._refuse_headers()
            return
        before = 0 if body is None else body.total_bytes
        super().data_received(data)
        messages = self._messages
        if messages:
            self._begun_at = 0.0
            if messages[-1][1] is not body:
                body, before = messages[-1][1], 0
        elif self._request_in_progress:
            self._begun_at = 0.0
        elif not self._begun_at:
            self._begun_at = time.monotonic()
        if body is not None and body.is_eof():  # a request is complete
            self._unfinished_body = None
            self._beside_bodies = 0
            return
        self._unfinished_body = body
        self._count_beside_bodies(len(data), 0 if body is None else body.total_bytes - before)

    def pause_reading(self) -> None:
        """More has come of a body than is read."""
        self._held_up = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on where reading was paused. aiohttp does so for each body, also where there is nothing to go on with."""
        if self._held_up:
            # At a body's end nothing should be left to parse; the next call looks, once more, to be sure.
            self._held_up = not resume_parser
            super().resume_reading(resume_parser)

    def _count_beside_bodies(self, received: int, grown: int) -> None:
        """Close where too much has come since the last request or the last bytes of a body that is neither."""
        self._beside_bodies = max(0, self._beside_bodies + received - FRAMING * grown)
        if self._beside_bodies > MOST_HEADER_BYTES:
            self._refuse_headers()

    def _refuse_headers(self) -> None:
        clients_limited.add("header_bytes")
        self._beside_bodies = 0
        if self._unfinished_body is not None:  # somebody waits for the rest of it, and hears so
            self.drop()
            return
        self.refuse(Problem(431, detail=f"Headers and trailers may have {MOST_HEADER_BYTES} bytes."))

    @property
    def begun_at(self) -> float:
        """When the first bytes of a request came whose headers are not complete; 0 while there is none."""
        return 0.0 if self._messages or self._request_in_progress else self._begun_at

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self.unread_since = time.monotonic()
        self._clients.note_unread(self)

    def resume_writing(self) -> None:
        """The client reads on."""
        super().resume_writing()
        self.unread_since = 0.0
        self._clients.unread.pop(self, None)

    @property
    def unread(self) -> int:
        """How many bytes the client has not taken yet."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def refuse(self, problem: Problem) -> None:
        """Answer a request that never came whole, and close."""
        if self.transport is not None:
            self.transport.write(problem.bare())
        self.force_close()

    def drop(self) -> None:
        """Close at once, whatever is still unread."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what can't be parsed (400), and what went wrong outside of the application (500)."""
        if status >= 500:
            log.error("could not answer %(client)s: 500", {"client": request.remote}, exc_info=exc)
        else:
            log.debug("%(client)s does not speak HTTP: %(error)s", {"client": request.remote, "error": exc})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        response = Problem(status).response(correlation_id(request))
        response.headers[HEADER] = correlation_id(request)
        response.force_close()
        return response


def take_port(host: str, port: int, *, setting: str = "PORT") -> socket.socket:
    """A listening socket; without a host on all addresses, IPv6 and IPv4. Raises `CannotListen`."""
    try:
        if host in ("", "::"):
            return _on_all_addresses(port)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return _bounded(socket.create_server((address[0], port), family=family, backlog=BACKLOG))
    except OSError as error:
        # Names that can't be resolved have numbers of their own, below zero.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise CannotListen(f"HOST, {setting}: can't listen on {address_shown(host, port)}: {reason}") from error


def _on_all_addresses(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            every = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
            return _bounded(every)
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
    return _bounded(socket.create_server(("0.0.0.0", port), backlog=BACKLOG))  # noqa: S104 - all interfaces are meant


def _bounded(listening: socket.socket) -> socket.socket:
    """The same, and connections that it accepts keep little in the kernel."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MOST_INCOMING)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)
    return listening


def address_shown(host: str, port: int) -> str:
    """An address for people."""
    if not host:
        return f"port {port} of all addresses"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
