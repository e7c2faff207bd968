"""The shape of handlers: one that could only fail is refused where it is registered, by its name and its event's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Never, Protocol, TypeVar

import pytest

from eventcore import Event, Metadata, Router, Transaction, Write
from eventcore.consume.handler_shape import name_of, shape_of

from .samples import Ordered, Shipped, acknowledge

if TYPE_CHECKING:
    pass

Some = TypeVar("Some", bound=Event)


class Identified(Protocol):
    order_id: str


class Decision(Transaction, frozen=True):
    pass


class Handlers:
    def plain(self, order: Ordered) -> Transaction:
        return Transaction()

    def wrong(self, order: Shipped) -> Transaction:
        return Transaction()

    async def __call__(self, order: Ordered) -> Transaction:
        return Transaction()


class WrongCall:
    def __call__(self, order: Shipped) -> Transaction:
        return Transaction()


def handler(takes: Any = Ordered, returns: Any = Transaction, metadata: Any = None) -> Callable[..., Any]:
    """A handler with these annotations."""

    def of_event(order: Any) -> Any: ...

    def of_both(order: Any, metadata: Any) -> Any: ...

    made = of_event if metadata is None else of_both
    made.__annotations__ = {"order": takes, "metadata": metadata, "return": returns}
    return made


async def later(order: Ordered) -> Transaction:
    return Transaction()


def promised(order: Ordered) -> Awaitable[Transaction]:
    return later(order)


@wraps(later)
async def wrapped(*arguments: Any) -> Transaction:
    return Transaction()


def test_coroutine_functions_objects_and_what_promises_an_answer_are_known_as_async() -> None:
    waits: list[Callable[..., Any]] = [later, promised, wrapped, partial(later), Handlers()]
    plain: list[Callable[..., Any]] = [acknowledge, Handlers().plain, partial(acknowledge)]
    assert [shape_of(function, Ordered).is_async for function in waits + plain] == [True] * 5 + [False] * 3


def test_the_decorated_function_stays_as_it_is() -> None:
    assert Router(group="g").on(Ordered)(acknowledge) is acknowledge


@pytest.mark.parametrize(
    "takes",
    [
        *(Ordered, Event, object, Any, Some, Identified, Ordered | Shipped, Ordered | None, Annotated[Ordered, 1]),
        *("Ordered", "Ordered | Shipped", "Unknown", "Unknown | Shipped", "no.such", "no code"),
    ],
    ids=str,
)
def test_the_event_may_be_taken_as_itself_as_more_or_as_what_only_type_checkers_know(takes: Any) -> None:
    assert not shape_of(handler(takes), Ordered).wants_metadata
    assert shape_of(handler(takes, metadata=Metadata), Ordered).wants_metadata


@pytest.mark.parametrize(
    "returns",
    [
        *(
            Transaction,
            Decision,
            Any,
            None,
            Never,
            Transaction | Decision,
            Transaction | None,
            "Transaction",
            "Unknown",
        ),
        *(Awaitable[Transaction], Coroutine[Any, Any, Transaction], "Awaitable[Transaction]", Awaitable),
    ],
    ids=str,
)
def test_a_handler_returns_a_transaction_or_promises_one(returns: Any) -> None:
    shape_of(handler(returns=returns), Ordered)


@pytest.mark.parametrize(
    ("returns", "may"),
    [
        *((Transaction, False), (Decision, False), (Awaitable[Transaction], False), (Transaction | Decision, False)),
        *(
            (None, True),
            (Transaction | None, True),
            (Awaitable[Transaction | None], True),
            (Any, True),
            ("Unknown", True),
        ),
    ],
    ids=str,
)
def test_only_a_handler_that_promises_a_transaction_may_not_return_none(returns: Any, may: bool) -> None:
    assert shape_of(handler(returns=returns), Ordered).may_return_none is may


def test_annotations_of_what_a_decorator_has_wrapped_are_not_taken_for_those_of_a_handler() -> None:
    def writes(order: Shipped) -> list[Write]:
        return []

    @wraps(writes)
    def decide(order: Ordered) -> Transaction:
        return Transaction(then=writes(Shipped(order_id=order.order_id)))

    assert not shape_of(decide, Ordered).is_async


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (handler(Shipped), "its argument `order` is …samples.Shipped, not Ordered"),
        (handler("Shipped"), "its argument `order` is …samples.Shipped, not Ordered"),
        (handler("Shipped", "Unknown"), "its argument `order` is …samples.Shipped, not Ordered"),
        (handler(Shipped | None), "its argument `order` is …samples.Shipped | None, not Ordered"),
        (handler(list[Ordered]), "its argument `order` is list[…samples.Ordered], not Ordered"),
        (handler(type[Ordered]), "its argument `order` is type[…samples.Ordered], not Ordered"),
        (handler(str), "its argument `order` is str, not Ordered"),
        (handler(metadata=str), "its argument `metadata` is str, not Metadata"),
        (handler("Unknown", int), "it returns int, not Transaction (empty, to acknowledge only)"),
        (handler(returns=list[Transaction]), "it returns list[…Transaction], not Transaction (empty, …"),
        (handler(returns=Awaitable[int]), "it returns …Awaitable[int], not Transaction (empty, …"),
    ],
    ids=itertools.count(),
)
def test_a_handler_with_the_wrong_annotations_is_refused(function: Callable[..., Any], what: str) -> None:
    with pytest.raises(TypeError, match=re.escape(what).replace("…", ".*") + "$"):
        shape_of(function, Ordered)


def takes_nothing() -> Transaction:
    return Transaction()


def takes_three(a: object, b: object, c: object) -> Transaction:
    return Transaction()


def asks_by_name(order: Ordered, *, mailer: object) -> Transaction:
    return Transaction()


@pytest.mark.parametrize(
    ("function", "name", "what"),
    [
        (takes_nothing, "takes_nothing", "it must take the event, or the event and its metadata"),
        (takes_three, "takes_three", "it must take the event, or the event and its metadata"),
        (partial(takes_three, 1, 2, 3), "takes_three", "it must take the event, or the event and its metadata"),
        (asks_by_name, "asks_by_name", "it must take the event, or the event and its metadata"),
        (Handlers().wrong, "Handlers.wrong", "its argument `order` is "),
        (partial(Handlers().wrong), "Handlers.wrong", "its argument `order` is "),
        (WrongCall(), "WrongCall", "its argument `order` is "),
    ],
    ids=itertools.count(),
)
def test_a_refused_handler_is_named_and_so_is_its_event(function: Callable[..., Any], name: str, what: str) -> None:
    assert name_of(function) == f"{__name__}.{name}"
    with pytest.raises(TypeError, match=re.escape(f"{__name__}.{name} can't handle sample.ordered (Ordered): {what}")):
        Router(group="g").on(Ordered)(function)
