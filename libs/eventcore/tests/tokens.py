"""A provider of tokens: keys of its own, and tokens signed with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://login.example.com/", "shop"


class Provider:
    """Signs tokens with its newest key; `write` puts its keys into a file."""

    def __init__(self, *, bits: int = 2048, curve: bool = False) -> None:
        self._bits, self._curve = bits, curve
        self.keys: dict[str, Any] = {}
        self.rotate()

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with a new key from now on; the others are no longer good, unless they are kept."""
        key = ec.generate_private_key(ec.SECP256R1()) if self._curve else rsa.generate_private_key(65537, self._bits)
        self.keys = {**(self.keys if keep else {}), f"key-{time.monotonic_ns()}": key}

    @property
    def algorithm(self) -> str:
        """How tokens are signed."""
        return "ES256" if self._curve else "RS256"

    def jwks(self) -> str:
        """The public keys, as a provider publishes them."""
        kind: Any = jwt.algorithms.ECAlgorithm if self._curve else jwt.algorithms.RSAAlgorithm
        public = [
            {**json.loads(kind.to_jwk(key.public_key())), "kid": key_id, "use": "sig", "alg": self.algorithm}
            for key_id, key in self.keys.items()
        ]
        return json.dumps({"keys": public})

    def write(self, path: Path) -> Path:
        """The file with the public keys."""
        path.write_text(self.jwks())
        return path

    def token(self, *scopes: str, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that grants these scopes; claims that are `None` are left out."""
        key_id, key = list(self.keys.items())[-1]
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "anna",
            "exp": int(time.time()) + 600,
            "scope": " ".join(scopes),
            **claims,
        }
        present = {name: value for name, value in content.items() if value is not None}
        named = {name: value for name, value in {"kid": key_id, **(headers or {})}.items() if value is not None}
        return jwt.encode(present, key, self.algorithm, headers=named)


def bearer(token: str) -> dict[str, str]:
    """The header that brings a token."""
    return {"Authorization": f"Bearer {token}"}
