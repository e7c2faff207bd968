"""The key that signs webhooks, and whether it is any good."""

from __future__ import annotations

import base64
import binascii

# Standard Webhooks asks for 24 to 64 bytes. Shorter keys are in use: only what anybody could guess is refused.
RECOMMENDED_BYTES, FEWEST_BYTES = 24, 6


def signing_key(secret: str | None) -> bytes:
    """The bytes that `whsec_…`, or its base64 alone, stands for. ValueError: a sentence without the secret.

    Decoded strictly: the package skips what is not base64, and would sign with another key than was meant.
    """
    if not secret:
        raise ValueError("WEBHOOK_SECRET is required with WEBHOOK_URL")
    encoded = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("WEBHOOK_SECRET must be whsec_ and base64, or base64 alone")
    if len(key) < FEWEST_BYTES or len(set(key)) == 1:
        raise ValueError(f"WEBHOOK_SECRET is too easy to guess: take {RECOMMENDED_BYTES} to 64 random bytes as base64")
    return key


def caution(secret: str | None) -> str | None:
    """What to tell the operator about a key that is taken although it is short."""
    if not secret or len(key := signing_key(secret)) >= RECOMMENDED_BYTES:
        return None
    return f"WEBHOOK_SECRET has {len(key)} bytes, Standard Webhooks asks for {RECOMMENDED_BYTES} to 64: it is weak"
