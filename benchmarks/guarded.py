"""The order service as it asks for tokens and as it limits rates: what either costs beside one that does neither."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from . import programs
from .programs import Program

ISSUER, AUDIENCE = "https://login.example.com/", "shop"
KEYS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "RS256": (jwt.algorithms.RSAAlgorithm, lambda: rsa.generate_private_key(65537, 2048)),
    "ES256": (jwt.algorithms.ECAlgorithm, lambda: ec.generate_private_key(ec.SECP256R1())),
}
RATES = {"RATE_LIMIT_REQUESTS": "1000000"}


class TokenIssuer:
    """Signs one token, which many requests bring; its key is in a file while the program runs."""

    def __init__(self, algorithm: str) -> None:
        kind, make = KEYS[algorithm]
        key = make()
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": int(time.time()) + 86_400}
        token = jwt.encode({**claims, "scope": "orders:write"}, key, algorithm, headers={"kid": "one"})
        self.header = f"Authorization: Bearer {token}\r\n".encode()
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name, "keys.json")
        public = {**json.loads(kind.to_jwk(key.public_key())), "kid": "one", "alg": algorithm}
        self._file.write_text(json.dumps({"keys": [public]}))

    def program(self, url: str) -> Program:
        """The order service, which asks for this issuer's tokens."""
        asked = {"AUTH_JWKS": str(self._file), "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}
        return programs.service("order_service", url, **asked)


def limited(url: str) -> Program:
    """The order service with a limit that nobody reaches."""
    return programs.service("order_service", url, **RATES)


@cache
def issuer(algorithm: str) -> TokenIssuer:
    """The one whose tokens are signed so."""
    return TokenIssuer(algorithm)
