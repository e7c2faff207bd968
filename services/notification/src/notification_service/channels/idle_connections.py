"""SMTP connections that wait for the next mail."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException

MAX_IDLE = timedelta(seconds=30)  # well before servers (5 min by RFC 5321) and stateful firewalls forget us
GOODBYE = timedelta(seconds=1)


class IdleConnections:
    """A stack: under light load one connection does the work and the others age. As large as its user lets it grow."""

    def __init__(self, max_idle: timedelta = MAX_IDLE) -> None:
        self._max_idle = max_idle.total_seconds()
        self._stack: list[tuple[SMTP, float]] = []
        self._closed = False

    def take(self) -> SMTP | None:
        """The connection used last, unless the server has closed it or it is too old to be trusted."""
        while self._stack:
            smtp, since = self._stack.pop()
            if smtp.is_connected and _now() - since < self._max_idle:
                return smtp
            smtp.close()
        return None

    async def keep(self, smtp: SMTP) -> None:
        """Put a connection by; after `close`, take leave of it."""
        if self._closed:
            await _quit(smtp)
            return
        self._stack.append((smtp, _now()))
        while self._stack and _now() - self._stack[0][1] >= self._max_idle:  # what a busy hour has left behind
            self._stack.pop(0)[0].close()

    async def close(self) -> None:
        """Take leave of all connections, politely but not for long."""
        self._closed = True
        stack, self._stack = self._stack, []
        await asyncio.gather(*(_quit(smtp) for smtp, _ in stack))


async def _quit(smtp: SMTP) -> None:
    with contextlib.suppress(SMTPException, OSError):
        async with asyncio.timeout(GOODBYE.total_seconds()):
            await smtp.quit()
    smtp.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
