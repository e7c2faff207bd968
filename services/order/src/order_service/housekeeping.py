"""Housekeeping: orders expire by themselves, their places in the indexes do not."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta

from eventcore import EventcoreError, Forbidden, Unavailable

from .orders import Orders

log = logging.getLogger(__name__)

SWEEP_EVERY = timedelta(minutes=10)


async def keep_house(orders: Orders) -> None:
    """Clean up now and then, until cancelled. Any number of processes may do so."""
    told = ""
    while True:
        try:
            await orders.forget()
            told = ""
        except EventcoreError as error:
            if str(error) != told and (isinstance(error, Forbidden) or not isinstance(error, Unavailable)):
                log.warning("the indexes of orders grow, they can't be cleaned up: %(error)s", {"error": error})
                told = str(error)
        await asyncio.sleep(SWEEP_EVERY.total_seconds() * random.uniform(0.5, 1))
