"""What a handler may look like: to type checkers, and where it is registered."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Any,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from eventcore.commit.transaction import Transaction
from eventcore.events.envelope import Metadata
from eventcore.events.event import Event

E_contra = TypeVar("E_contra", bound=Event, contravariant=True)
E = TypeVar("E", bound=Event)
P = ParamSpec("P")
D = TypeVar("D", bound=Transaction | Awaitable[Transaction])
D_co = TypeVar("D_co", bound=Transaction | Awaitable[Transaction], covariant=True)


# Overloads say "as well as": such a function can be called with the event, and has parameters of its own, which the
# decorator gives back. So the event is checked, and names, defaults and wider types are kept.
class TakesEvent(Protocol[E_contra, P, D_co]):
    """A handler of the event."""

    @overload
    def __call__(self, event: E_contra, /) -> D_co: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> D_co: ...


class TakesEventAndMetadata(Protocol[E_contra, P, D_co]):
    """A handler of the event and its metadata."""

    @overload
    def __call__(self, event: E_contra, metadata: Metadata, /) -> D_co: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> D_co: ...


class Registration(Protocol[E]):
    """The decorator that registers a handler of the event, plain or `async`, and leaves it as it is."""

    @overload
    def __call__(self, handler: TakesEvent[E, P, D], /) -> Callable[P, D]: ...
    @overload
    def __call__(self, handler: TakesEventAndMetadata[E, P, D], /) -> Callable[P, D]: ...
    # For mypy, to which a callable without names for its parameters has no `P` here.
    @overload
    def __call__(self, handler: Callable[[E], D], /) -> Callable[[E], D]: ...
    @overload
    def __call__(self, handler: Callable[[E, Metadata], D], /) -> Callable[[E, Metadata], D]: ...


class Shape(NamedTuple):
    """How a handler is called."""

    is_async: bool
    wants_metadata: bool
    may_return_none: bool
    """Not where it promises a `Transaction`: then it has forgotten a `return`."""


def shape_of(function: Callable[..., Any], event: type[Event]) -> Shape:
    """How to call a handler of this event.

    Raises `TypeError`, which names both, where each call would fail. What has no annotations of its own, or such as
    can't be resolved while the program runs, is trusted.
    """
    signature = inspect.signature(function)
    shapes: tuple[tuple[type, ...], ...] = ((event,), (event, Metadata))
    arguments = next((each for each in shapes if _can_be_called(signature, each)), None)
    if arguments is None:
        raise _wrong(function, event, "it must take the event, or the event and its metadata")
    for parameter, argument in zip(signature.parameters.values(), arguments, strict=False):
        hint = _resolved(parameter.annotation, function)
        if not _takes(hint, argument):
            raise _wrong(function, event, f"its argument `{parameter.name}` is {_shown(hint)}, not {argument.__name__}")
    decision = _resolved(signature.return_annotation, function)
    if not _decides(decision):
        raise _wrong(function, event, f"it returns {_shown(decision)}, not Transaction (empty, to acknowledge only)")
    is_async = _is_coroutine_function(function) or _is_awaitable(decision)
    return Shape(is_async, len(arguments) == 2, _may_be_none(decision))


def name_of(function: Callable[..., Any]) -> str:
    """A handler, for people: `order_service.handlers.confirm`."""
    function = _whole(function)
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _wrong(function: Callable[..., Any], event: type[Event], what: str) -> TypeError:
    return TypeError(f"{name_of(function)} can't handle {event.type} ({event.__name__}): {what}")


def _whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a partial one is part of."""
    while isinstance(function, partial):
        function = function.func
    return function


def _can_be_called(signature: inspect.Signature, arguments: tuple[type, ...]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - an object may be the handler
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """What an annotation means; `Any` where there is none, or where only type checkers import its names."""
    function = _whole(function)
    called = function if hasattr(function, "__globals__") else function.__call__  # type: ignore[operator]
    if annotation is inspect.Signature.empty or hasattr(called, "__wrapped__"):  # which speak of what is wrapped
        return Any
    names = getattr(called, "__globals__", {})
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return Any


def _takes(hint: Any, argument: type) -> bool:
    if get_origin(hint) in _UNIONS:
        return any(_takes(each, argument) for each in get_args(hint))
    try:
        return issubclass(argument, _class_of(hint) or argument)
    except TypeError:  # a protocol
        return True


def _decides(hint: Any) -> bool:
    if get_origin(hint) in _UNIONS:
        return all(map(_decides, get_args(hint)))
    if _is_awaitable(hint):
        return all(map(_decides, get_args(hint)[-1:]))
    return issubclass(_class_of(hint) or Transaction, (Transaction, NoneType))


def _may_be_none(hint: Any) -> bool:
    if get_origin(hint) in _UNIONS:
        return any(map(_may_be_none, get_args(hint)))
    if _is_awaitable(hint):
        return any(map(_may_be_none, get_args(hint)[-1:]))
    return (_class_of(hint) or NoneType) is NoneType


def _is_awaitable(hint: Any) -> bool:
    return issubclass(_class_of(hint) or Transaction, Awaitable)


def _class_of(hint: Any) -> type | None:
    """The class that a hint stands for; `None` for what may stand for any."""
    kind = get_origin(hint) or hint
    return kind if isinstance(kind, type) and kind is not Any else None


def _shown(hint: Any) -> str:
    return "None" if hint is NoneType else inspect.formatannotation(hint)


_UNIONS = (Union, UnionType)
