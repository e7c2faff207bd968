"""Scopes: what an endpoint asks of the token that a request brings (RFC 6750)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web
from msgspec import Struct

from eventcore.telemetry.measurements import tokens_refused

from .problems import Problem


class Token(Struct, frozen=True, gc=False):
    """A token that was found valid: whom it stands for, what it grants, until when, and all that it claims."""

    subject: str
    scopes: frozenset[str]
    expires_at: float
    claims: Mapping[str, Any]


class Authority(Protocol):
    """Checks tokens."""

    async def token_of(self, authorization: str) -> Token:
        """The token in an `Authorization` header. Raises `Problem`: 401 for none that is valid, 503 without keys."""


AUTHORITY: web.AppKey[Authority] = web.AppKey("AUTHORITY", Authority)
TOKEN: web.RequestKey[Token] = web.RequestKey("TOKEN", Token)


def token(request: web.BaseRequest) -> Token | None:
    """The valid token of a request, if it brought one."""
    return request.get(TOKEN)


def require_scope(request: web.Request, scope: str) -> None:
    """Check that a request may do this. Raises `Problem`: 401 without a token, 403 where it doesn't grant `scope`.

    Without AUTH_JWKS every request may do everything.
    """
    if AUTHORITY not in request.app:
        return
    given = request.get(TOKEN)
    if given is None:
        raise refusal("missing", "A bearer token is needed here.", scope=scope)
    if scope not in given.scopes:
        tokens_refused.add("scope")
        headers = {"WWW-Authenticate": challenge(error="insufficient_scope", scope=scope)}
        raise Problem(403, detail=f"The token does not grant {scope}.", headers=headers)


def refusal(reason: str, detail: str, **parameters: str) -> Problem:
    """401, with the challenge that says why."""
    tokens_refused.add(reason)
    return Problem(401, detail=detail, headers={"WWW-Authenticate": challenge(**parameters)})


def challenge(**parameters: str) -> str:
    """The value of `WWW-Authenticate` (RFC 6750, 3)."""
    told = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    return f"Bearer {told}" if told else "Bearer"
