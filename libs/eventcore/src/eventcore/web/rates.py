"""How many requests each client may send: a token bucket each, in this process."""

from __future__ import annotations

import math
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from eventcore.settings import Settings
from eventcore.telemetry.measurements import clients_limited

from .clients import network_of
from .middleware import UNOBSERVED
from .problems import Problem
from .scopes import TOKEN

# Buckets that are full again are forgotten beyond this many; then those that were used first.
MOST_CLIENTS = 100_000
_REMAINING = web.RequestKey("REMAINING", int)


class Rates:
    """A bucket of `requests` tokens for each client, which fills up within `seconds`.

    Kept as the time at which the bucket will be full again (the "generic cell rate algorithm", ITU-T I.371): one number
    for each client.
    """

    def __init__(self, requests: int, seconds: float, *, proxies: int) -> None:
        self._requests, self._seconds, self._proxies = requests, seconds, proxies
        self._full_at: dict[str, float] = {}
        self.policy = f'"client";q={requests};w={math.ceil(seconds)}'

    def take(self, client: str, now: float) -> int:
        """Take a token; how many are left. Raises `Problem` 429 where there is none, with when there will be one."""
        token = self._seconds / self._requests
        full_at = max(now, self._full_at.get(client, now)) + token
        if (wait := full_at - now - self._seconds) > token * 1e-6:
            clients_limited.add("rate")
            headers = {"RateLimit-Policy": self.policy, "RateLimit": self.state(0, wait)}
            raise Problem(429, detail="Too many requests; nothing was done.", retry_after=wait, headers=headers)
        self._full_at[client] = full_at
        if len(self._full_at) > MOST_CLIENTS:
            self._forget(now)
        return int((now + self._seconds - full_at) / token + 1e-6)

    def state(self, left: int, seconds: float) -> str:
        """The `RateLimit` field (draft-ietf-httpapi-ratelimit-headers-10): what is left, and when there is more."""
        return f'"client";r={left};t={max(1, math.ceil(seconds))}'

    def _forget(self, now: float) -> None:
        self._full_at = {client: full_at for client, full_at in self._full_at.items() if full_at > now}
        while len(self._full_at) > MOST_CLIENTS:
            del self._full_at[next(iter(self._full_at))]

    def client_of(self, request: web.BaseRequest) -> str:
        """Who asks: the token's subject, else the address that the outermost of our own proxies saw.

        All of an IPv6 network of 64 bits is one client.
        """
        if (given := request.get(TOKEN)) is not None:
            return f"subject {given.subject}"
        address = request.remote or ""
        if self._proxies:
            seen = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
            if len(seen) >= self._proxies:
                address = seen[-self._proxies].strip() or address
        return network_of(address)

    @web.middleware
    async def limit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what is too much; probes never are."""
        if request.path not in UNOBSERVED:
            request[_REMAINING] = self.take(self.client_of(request), time.monotonic())
        return await handler(request)

    async def complete(self, request: web.Request, response: web.StreamResponse) -> None:
        """A signal `on_response_prepare`: tell the client what is left."""
        if (left := request.get(_REMAINING)) is not None:
            response.headers["RateLimit-Policy"] = self.policy
            response.headers["RateLimit"] = self.state(left, self._seconds / self._requests)


def limit_rates(app: web.Application, settings: Settings) -> None:
    """Limit the requests of each client, where the settings say so."""
    if settings.rate_limit_requests:
        rates = Rates(settings.rate_limit_requests, settings.rate_limit_seconds, proxies=settings.trusted_proxies)
        app.middlewares.append(rates.limit)
        app.on_response_prepare.append(rates.complete)
