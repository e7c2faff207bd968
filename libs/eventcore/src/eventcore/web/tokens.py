"""Tokens: JSON Web Tokens of an OAuth 2 or OpenID Connect provider, checked (RFC 8725, RFC 9068)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
from aiohttp import web
from aiohttp.typedefs import Handler

from eventcore.settings import Settings
from eventcore.telemetry.measurements import tokens_refused

from .keys import KeySet
from .middleware import UNOBSERVED
from .problems import Problem
from .scopes import AUTHORITY, TOKEN, Token, refusal

# Tokens are sent again and again: each is checked once for as long as it is valid.
MOST_TOKENS = 10_000
LONGEST_SUBJECT = 200
FAR_FUTURE = 2**40


class Tokens:
    """Checks tokens by the settings: who must have issued them, for whom, signed by which keys."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.keys = KeySet(settings.auth_jwks or "")
        self._valid: dict[str, Token] = {}
        self._changes = 0

    async def token_of(self, authorization: str) -> Token:
        """The token in an `Authorization` header. Raises `Problem`: 401 for none that is valid, 503 without keys."""
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise refusal("scheme", "A bearer token is needed here.")
        if self._changes != self.keys.changes:  # what a key has signed that is gone is valid no longer
            self._valid, self._changes = {}, self.keys.changes
        known = self._valid.get(text)
        if known is not None and time.time() < known.expires_at:
            return known
        token = await self._checked(text)
        while len(self._valid) >= MOST_TOKENS:
            del self._valid[next(iter(self._valid))]
        self._valid[text] = token
        return token

    async def _checked(self, text: str) -> Token:
        try:
            return _token(self._claims(text, await self._key_of(text)), self._settings.auth_leeway_seconds)
        except jwt.PyJWTError as error:
            reason = str(error).replace('"', "'")
            raise refusal("invalid", f"The token is not valid: {reason}.", error="invalid_token") from None

    async def _key_of(self, text: str) -> jwt.PyJWK:
        """The key that a token says it is signed with."""
        header = jwt.get_unverified_header(text)
        key_id = header.get("kid")
        key = self.keys.find(key_id)
        if key is None:
            await self.keys.refresh()  # it may have been issued with a new one
            key = self.keys.find(key_id)
        if key is None and not self.keys:
            tokens_refused.add("keys")
            raise Problem(503, detail="The keys to check tokens with can't be had; nothing was done.")
        if key is None:
            raise jwt.InvalidTokenError("it is signed with a key that is not known here")
        if header.get("alg") != key.algorithm_name:
            raise jwt.InvalidAlgorithmError("its algorithm is not the key's")
        return key

    def _claims(self, text: str, key: jwt.PyJWK) -> dict[str, Any]:
        settings = self._settings
        return jwt.decode(
            text,
            key,
            algorithms=list(settings.auth_algorithms),
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            leeway=settings.auth_leeway_seconds,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )

    @web.middleware
    async def identify(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Put the token into the request. An invalid token is refused even where none is required."""
        given = request.headers.getall("Authorization", ())
        if given and request.path not in UNOBSERVED:
            if len(given) > 1:
                raise refusal("scheme", "There is more than one Authorization header.", error="invalid_request")
            request[TOKEN] = await self.token_of(given[0])
        return await handler(request)

    async def keep_keys(self, app: web.Application) -> AsyncIterator[None]:
        """A resource: keys that are up to date."""
        self.keys.check()
        task = asyncio.create_task(self.keys.run(), name="keys")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _token(claims: dict[str, Any], leeway: float) -> Token:
    """A token from claims that hold. Scopes stand in `scope` (RFC 9068) or, with some providers, in `scp`."""
    subject, said = claims["sub"], claims.get("scope", claims.get("scp", ""))
    if not (isinstance(subject, str) and 0 < len(subject) <= LONGEST_SUBJECT and subject.isprintable()):
        raise jwt.InvalidTokenError("its subject is no printable text of 1 to 200 characters")
    scopes = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    granted = frozenset(each for each in scopes if isinstance(each, str))
    return Token(subject, granted, min(int(claims["exp"]), FAR_FUTURE) + leeway, claims)


def check_tokens(app: web.Application, settings: Settings) -> None:
    """Check the tokens of requests to `app`, by the settings. To be called before endpoints are added to it."""
    if len(app.router.routes()):
        raise RuntimeError("endpoints that were added before check_tokens would ask for no token")
    tokens = Tokens(settings)
    app[AUTHORITY] = tokens
    app.middlewares.append(tokens.identify)
    app.cleanup_ctx.append(tokens.keep_keys)
