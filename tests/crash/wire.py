"""A plain connection to the server that waits for each answer, so that what happens happens in order."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import hiredis

from eventcore.server.pipe import Command, Reply, server_error


class Wire:
    """Sends commands and waits for the replies, errors among them."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(replyError=server_error)

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The reply to each command, in order; an exception stands where one failed."""
        pack: Any = hiredis.pack_command
        self._socket.sendall(b"".join(map(pack, commands)))
        replies: list[Reply] = []
        while len(replies) < len(commands):
            while (reply := self._reader.gets()) is False:
                self._reader.feed(self._socket.recv(65536))
            replies.append(reply)
        return replies

    def do(self, *command: str | bytes | int | float) -> Reply:
        """The reply to one command. Raises what stands in an error's place."""
        [reply] = self.ask([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
