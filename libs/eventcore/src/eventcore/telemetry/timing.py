"""`log_event_duration`: says in the log how long a function of yours took, each time it is called.

Handlers need no decorator: each event's time is in `messaging.process.duration`, by event type and outcome.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast, overload

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


@overload
def log_event_duration(function: F, /) -> F: ...


@overload
def log_event_duration(name: str | None = None, /) -> Callable[[F], F]: ...


def log_event_duration(function_or_name: Any = None, /) -> Any:
    """Log at INFO how long each call of the decorated function takes, plain or `async`, and whether it failed.

        @log_event_duration
        async def look_up(customer_id: str) -> Customer: ...

        @log_event_duration("price calculation")
        def calculate(order: Order) -> Money: ...

    Within a handler the line carries the ids of the event and its trace, like all others.
    """
    if callable(function_or_name):
        return _timed(function_or_name, function_or_name.__qualname__)
    return lambda function: _timed(function, function_or_name or function.__qualname__)


def _timed(function: F, name: str) -> F:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
            with _logged(name):
                return await function(*args, **kwargs)

        return cast(F, timed_coroutine)

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with _logged(name):
            return function(*args, **kwargs)

    return cast(F, timed)


@contextmanager
def _logged(name: str) -> Iterator[None]:
    began, outcome = time.perf_counter(), "failed"
    try:
        yield
        outcome = "done"
    finally:
        milliseconds = round((time.perf_counter() - began) * 1000, 3)
        facts = {"function": name, "outcome": outcome, "durationMs": milliseconds}
        log.info("%(function)s: %(outcome)s in %(durationMs).1f ms", facts)
