"""Placing an order: it and its event are written together, and once only where the client says so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from contracts import OrderCreated
from eventcore import Guard, String, Transaction, Value, Write, publish

from .measures import accepted
from .order import NewOrder, order


class KeyReused(Exception):
    """The idempotency key was already used for another request."""


class UnreadableReceipt(Exception):
    """What is kept under the idempotency key can't be read by this version."""


class Receipt(Value):
    """What is kept under an idempotency key: what was asked for, and the order that came of it."""

    fingerprint: str
    order_id: str


@dataclass(frozen=True, slots=True)
class Once:
    """A client's word that all its requests with this key are one. It is remembered for a while."""

    key: str
    fingerprint: str
    remember: timedelta

    @property
    def receipt(self) -> String:
        """Where the receipt is kept. Keys come from outside: only their digest becomes part of a name."""
        return receipt(digest(self.key))


def receipt(key_digest: str) -> String:
    """Where a receipt is kept."""
    return String(f"idempotency:{key_digest}")


def place(new: NewOrder, once: Once | None, *, keep: timedelta) -> Transaction:
    """Have this order and publish it; with `once`, unless that was done before.

    There is no `otherwise`: what is found then is for `placed_before`, so that this may be committed twice.
    """
    created = OrderCreated(order_id=new.id, items=new.items, customer_id=new.customer_id, email=new.email)
    when: list[Guard] = [order(new.id)["status"].absent()]
    then: list[Write] = [*new.keep(keep), publish(created)]
    if once is not None:
        receipt = Receipt(fingerprint=once.fingerprint, order_id=new.id)
        when.append(once.receipt.absent())
        then.append(once.receipt.set(receipt.model_dump_json(), ttl=once.remember))
    return Transaction(when, then, counts=[accepted()])


def placed_before(found: Mapping[object, str | None], new: NewOrder, once: Once | None) -> str:
    """The id of the order that was placed already: by this very request, whose answer was lost, or by an equal one.

    Raises `KeyReused` where it was a request for something else, or `UnreadableReceipt`.
    """
    kept = found.get(once.receipt) if once is not None else None
    if once is None or kept is None:
        return new.id
    try:
        receipt = Receipt.model_validate_json(kept)
    except ValidationError as error:
        raise UnreadableReceipt from error
    if receipt.fingerprint != once.fingerprint:
        raise KeyReused
    return receipt.order_id


def fingerprint(request: Value) -> str:
    """Equal for requests that ask for the same, however their JSON is written."""
    return digest(request.model_dump_json(by_alias=True, exclude_none=True))


def digest(text: str) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
