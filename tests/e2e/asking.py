"""One HTTP request to a service, whichever replica it reaches and however it gets there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

SERVICES = ("order", "inventory", "notification")


class NoAnswer(Exception):
    """Nobody answered: refused, cut off, or silent for too long. Whether the request arrived is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the body as JSON where it is JSON, else as text; header names in lower case."""

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Http(Protocol):
    """Sends requests."""

    async def request(
        self, service: str, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Ask a service, as its clients do. Raises `NoAnswer`."""
