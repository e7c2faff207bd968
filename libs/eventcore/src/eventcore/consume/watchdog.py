"""The watchdog: names deliveries that a consumer holds for longer than their handlers may take."""

from __future__ import annotations

import logging
import time

from .delivery import Delivery, DeliveryKey
from .handler_task import CLEANING_SECONDS
from .in_flight import Holding
from .router import Router

log = logging.getLogger(__name__)

# What a handler, its time and the commit after it may take beyond the handler's own timeout.
GRACE_SECONDS = 30.0
# For how long a delivery may be in hand before its handler begins: behind others of its batch, or of a recovery.
LONGEST_UNTOUCHED = 600.0


class Watchdog:
    """Finds deliveries that are stuck, by whatever defect."""

    def __init__(self, holding: Holding, router: Router) -> None:
        self._holding, self._router = holding, router
        self._told: set[DeliveryKey] = set()

    @property
    def problem(self) -> str | None:
        """What does not move, if anything: its entry, type and handler, and for how long."""
        stuck = self._stuck()
        return self._describe(stuck[0], time.monotonic()) if stuck else None

    def look(self) -> None:
        """Log what does not move, each once."""
        stuck = self._stuck()
        self._told &= {each.key for each in stuck}
        for each in stuck:
            if each.key not in self._told:
                said = {"group": self._router.group, "delivery": self._describe(each, time.monotonic())}
                log.error("%(group)s is stuck with a delivery: %(delivery)s", said)
                self._told.add(each.key)

    def _stuck(self) -> list[Delivery]:
        now = time.monotonic()
        return [each for each in self._holding.in_hand() if now - _since(each) > self._patience(each)]

    def _patience(self, delivery: Delivery) -> float:
        handler = self._router.handlers.get(delivery.type)
        if delivery.began_at < delivery.received_at or handler is None:
            return LONGEST_UNTOUCHED
        return handler.timeout.total_seconds() + CLEANING_SECONDS + GRACE_SECONDS

    def _describe(self, delivery: Delivery, now: float) -> str:
        handler = self._router.handlers.get(delivery.type)
        by = getattr(handler.function, "__qualname__", type(handler.function).__name__) if handler else "no handler"
        place = f"entry {delivery.entry_id} of {delivery.stream} ({delivery.type}, {by})"
        return f"{place} has been in hand for {now - _since(delivery):.0f} s and does not move"


def _since(delivery: Delivery) -> float:
    return max(delivery.received_at, delivery.began_at)
