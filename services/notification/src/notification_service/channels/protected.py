"""A channel that spares its receiver: no more at once than its receiver takes, and few while it is down."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from .base import Channel, Notification
from .breaker import Breaker
from .concurrency_limit import ConcurrencyLimit
from .errors import ChannelError, ChannelUnavailable, NotSent

# Then it is not sent, so that other channels and other customers don't wait with it.
LONGEST_WAIT = timedelta(seconds=10)
# A receiver that needs more than this share of the time it is given has enough to do.
IN_GOOD_TIME = 0.8


class ProtectedChannel:
    """Another channel, behind a queue and a circuit breaker. The wait in the queue is not the receiver's time.

    `at_once` is how many notifications may be under way, `timeout` how long the receiver may take for one.
    """

    def __init__(self, channel: Channel, *, at_once: int, timeout: timedelta) -> None:
        self.name = channel.name
        self._channel = channel
        self._good_time = timeout.total_seconds() * IN_GOOD_TIME
        self._limit = ConcurrencyLimit(at_once)
        self._breaker = Breaker(channel.name)

    def __repr__(self) -> str:
        return f"ProtectedChannel({self._channel!r})"

    @property
    def is_down(self) -> bool:
        """Whether its receiver is down, as far as we know."""
        return self._breaker.is_open

    def recipient(self, notification: Notification) -> str | None:
        """As the channel says."""
        return self._channel.recipient(notification)

    async def send(self, notification: Notification) -> None:
        """As the channel does, or raise `NotSent` before anything is sent."""
        self._check_receiver(notification)
        await self._wait_for_room()
        try:
            self._check_receiver(notification)  # what has changed while it waited
            await self._try(notification)
        finally:
            self._limit.release()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._channel.close()

    def _check_receiver(self, notification: Notification) -> None:
        if (wait := self._breaker.wait(notification.key)) is not None:
            raise NotSent(f"not sent, its receiver is down: {self._breaker.last_error}", wait)

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(LONGEST_WAIT.total_seconds()):
                await self._limit.acquire()
        except TimeoutError:
            raise NotSent(f"not sent, its receiver has enough to do ({self._limit.current} at once)") from None

    async def _try(self, notification: Notification) -> None:
        began = time.monotonic()
        self._breaker.begin(notification.key)
        try:
            await self._channel.send(notification)
        except ChannelUnavailable as error:
            self._learn(notification, error, began)
            raise
        except ChannelError:  # a receiver that says no is there
            self._breaker.passed(notification.key)
            raise
        finally:
            self._breaker.end(notification.key)
        self._breaker.passed(notification.key)
        if time.monotonic() - began < self._good_time:
            self._limit.grow()

    def _learn(self, notification: Notification, error: ChannelUnavailable, began: float) -> None:
        if error.only_this_one:
            self._breaker.passed(notification.key)
            return
        was_open = self._breaker.is_open
        self._breaker.failed(notification.key, error, retry_after=error.retry_after, answers=error.answered)
        if self._breaker.is_open and not was_open and not error.answered:
            self._limit.restart_at_one()
        elif error.overloaded and self._breaker.failed_in_a_row > 1:  # a single one may have a reason of its own
            self._limit.halve(began)
