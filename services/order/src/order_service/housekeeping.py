"""Housekeeping: orders expire by themselves, their places in the indexes do not."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta

from eventcore import EventcoreError

from .orders import Orders

log = logging.getLogger(__name__)

every = timedelta(minutes=10)


async def keep_house(orders: Orders) -> None:
    """Clean up now and then, until cancelled. Any number of processes may do so."""
    while True:
        try:
            await orders.forget()
        except EventcoreError as error:
            log.debug("not cleaning up: %s", error)
        await asyncio.sleep(every.total_seconds() * random.uniform(0.5, 1))
