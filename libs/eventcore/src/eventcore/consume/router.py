"""The router: the table of handlers, one for each event type that a consumer group cares about."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from eventcore.commit.transaction import Transaction
from eventcore.events.envelope import Metadata
from eventcore.events.event import Event

from .delivery import milliseconds_at
from .handler_shape import E, Registration, name_of, shape_of
from .retry_policy import LONGEST_CEILING, RetryPolicy

_NAMED_STARTS = {"beginning": "0", "now": "$"}


@dataclass(frozen=True, slots=True)
class Handler:
    """What to call for one event type, and how patiently.

    The function takes the event, or the event and its metadata, and returns a `Transaction` (an empty one only
    acknowledges). A plain function decides at once; an `async` one may talk to the world outside, within `timeout`.
    """

    event: type[Event]
    function: Callable[..., Transaction | Awaitable[Transaction]]
    retry: RetryPolicy | None
    """`None` until a consumer takes it: then that of the settings."""
    retry_for: Mapping[type[Exception], RetryPolicy]
    timeout: timedelta
    is_async: bool
    wants_metadata: bool
    may_return_none: bool = True
    give_up_after: timedelta | None = None
    """How long what the event needs may be `Unavailable`, before it becomes a dead letter; `None`: for ever."""

    def __call__(self, event: Event, metadata: Metadata) -> Transaction | Awaitable[Transaction]:
        """Call the function with what it asks for."""
        return self.function(event, metadata) if self.wants_metadata else self.function(event)

    def policy(self, error: BaseException) -> RetryPolicy:
        """The retry policy for this error: that of its nearest class named in `retry_for`, or the general one."""
        named = (self.retry_for[kind] for kind in type(error).__mro__ if kind in self.retry_for)
        return next(named, self.retry or RetryPolicy())

    @property
    def most_attempts(self) -> int:
        """The most attempts that any of its policies allows."""
        return max(policy.attempts for policy in (self.retry or RetryPolicy(), *self.retry_for.values()))

    @property
    def name(self) -> str:
        """The function, for people: `order_service.handlers.confirm`."""
        return name_of(self.function)


@dataclass(slots=True)
class Router:
    """The handlers of one consumer group, or a part of them: one consumer runs all routers of its group.

    inventory = Router(group="inventory-group")

    @inventory.on(OrderCreated)
    def reserve(order: OrderCreated) -> Transaction: ...

    Handlers that name no `retry` have the router's; where that names none either, `RETRY_ATTEMPTS` of the settings.
    `give_up_after` is how long an event is tried while what it needs is `Unavailable`, which costs no attempt: then it
    becomes a dead letter. Without it, it is tried for ever.

    `start` says where the group begins, and is looked at only when the group is made: at the `"beginning"` of the
    stream, `"now"` (only what is published from then on), or behind an entry id or a time.
    """

    group: str
    retry: RetryPolicy | None = None
    timeout: timedelta = timedelta(seconds=30)
    give_up_after: timedelta | None = None
    handlers: dict[str, Handler] = field(default_factory=dict)
    taken: bool = field(default=False, compare=False)
    """Whether a consumer has taken the handlers: one that came later would never be called."""
    start: str | datetime = field(default="beginning", kw_only=True)

    def __post_init__(self) -> None:
        _ = self.start_id
        for name, time in (("timeout", self.timeout), ("give_up_after", self.give_up_after)):
            _check_time(self.group, name, time)

    def on(
        self,
        event: type[E],
        *,
        retry: RetryPolicy | None = None,
        retry_for: Mapping[type[Exception], RetryPolicy] | None = None,
        timeout: timedelta | None = None,
    ) -> Registration[E]:
        """Register the decorated function as the handler for `event`; the function itself stays as it is.

        Raises `TypeError` for one that takes another event, or something else than one and its metadata, or that
        returns no `Transaction`, as far as its annotations tell.
        """
        _check_time(f"{self.group}, {event.type}", "timeout", timeout)

        def register(function: Any) -> Any:
            if self.taken:
                raise TypeError(f"{self.group} has its consumer already: too late for a handler for {event.type}")
            if event.type in self.handlers:
                raise TypeError(f"{self.group} already has a handler for {event.type}")
            shape = shape_of(function, event)
            self.handlers[event.type] = Handler(
                event,
                function,
                retry or self.retry,
                dict(retry_for or {}),
                timeout or self.timeout,
                shape.is_async,
                shape.wants_metadata,
                shape.may_return_none,
                self.give_up_after,
            )
            return function

        return register

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that this group reads: those of its events."""
        return tuple(sorted({handler.event.stream for handler in self.handlers.values()}))

    @property
    def types(self) -> dict[str, list[str]]:
        """The event types that there are handlers for, by stream."""
        return {
            stream: [kind for kind, handler in self.handlers.items() if handler.event.stream == stream]
            for stream in self.streams
        }

    @property
    def start_id(self) -> str:
        """The entry id behind which the group begins, as `XGROUP CREATE` takes it."""
        if isinstance(self.start, datetime):
            if self.start.utcoffset() is None:
                raise ValueError(f"{self.group}: start {self.start} has no time zone")
            return f"{milliseconds_at(self.start)}-0"
        if self.start in _NAMED_STARTS:
            return _NAMED_STARTS[self.start]
        if re.fullmatch(r"[0-9]+-[0-9]+", self.start) and all(int(part) < 2**64 for part in self.start.split("-")):
            return self.start
        raise ValueError(
            f"{self.group}: start must be 'beginning', 'now', a datetime or an entry id like 1732356000123-0, "
            f"not {self.start!r}"
        )

    @property
    def is_async(self) -> bool:
        """Whether any handler may wait for the world outside."""
        return any(handler.is_async for handler in self.handlers.values())


def united(routers: Iterable[Router], *, retry: RetryPolicy) -> list[Router]:
    """One router for each group, with the handlers of all its routers; `retry` is theirs where they name none.

    Two consumers of one group would each acknowledge what only the other has a handler for. Raises `TypeError` where
    two handlers take the same event, or a router has none.
    """
    groups: dict[str, Router] = {}
    for router in routers:
        if not router.handlers:
            raise TypeError(f"{router.group} has no handlers (yet): register them before the consumer is made")
        router.taken = True
        whole = groups.setdefault(
            router.group,
            Router(router.group, router.retry or retry, router.timeout, router.give_up_after, start=router.start),
        )
        if whole.start_id != router.start_id:
            raise TypeError(f"{router.group} can't begin at two places: {whole.start!r} and {router.start!r}")
        for kind, handler in router.handlers.items():
            if kind in whole.handlers:
                both = f"{whole.handlers[kind].name} and {handler.name}"
                raise TypeError(f"{router.group} has two handlers for {kind}: {both}")
            whole.handlers[kind] = replace(handler, retry=handler.retry or retry)
    return list(groups.values())


def _check_time(whose: str, name: str, time: timedelta | None) -> None:
    if time is not None and not timedelta(0) < time <= LONGEST_CEILING:
        raise ValueError(f"{whose}: {name} must be more than 0 and at most {LONGEST_CEILING}, not {time}")
