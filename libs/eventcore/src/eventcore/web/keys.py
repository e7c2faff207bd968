"""Keys that tokens are signed with (JWKS, RFC 7517): read from a file or an address, again when they change."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout
from jwt import PyJWK, PyJWTError

from eventcore.errors import SettingsError

log = logging.getLogger(__name__)

WEAKEST_RSA = 2048  # bits (RFC 7518, 3.3)
LARGEST_SET = 256 * 1024
READ_FILE_EVERY = 5.0
FETCH_EVERY = 600.0
FETCH_AGAIN_AFTER = 30.0
# A token with an unknown key makes us fetch, but strangers can't make us fetch all the time.
FETCH_AT_MOST_EVERY = 10.0
FETCH_SECONDS = 5.0


class KeysUnavailable(Exception):
    """The keys can't be had, or what was had holds none."""


class KeySet:
    """The keys at `source`, a path or an address. When they can't be had any more, the last ones go on.

    `changes` counts how often they have changed.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._by_id: Mapping[str, PyJWK] = {}
        self._content: bytes | None = None
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self.changes = 0

    @property
    def from_address(self) -> bool:
        """Whether they are fetched over HTTP."""
        return self._source.startswith(("http://", "https://"))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, key_id: str | None) -> PyJWK | None:
        """The key with this id; without one the only key that there is."""
        if key_id is None:
            return next(iter(self._by_id.values())) if len(self._by_id) == 1 else None
        return self._by_id.get(key_id)

    async def run(self) -> None:
        """Keep the keys up to date, until cancelled."""
        while True:
            await self.refresh()
            if not self.from_address:
                await asyncio.sleep(READ_FILE_EVERY)
            else:
                await asyncio.sleep(FETCH_EVERY if self._by_id else FETCH_AGAIN_AFTER)

    async def refresh(self) -> None:
        """Have the keys as they are now, unless that was tried only moments ago."""
        async with self._fetching:
            if time.monotonic() - self._fetched_at < (FETCH_AT_MOST_EVERY if self.from_address else 1):
                return
            self._fetched_at = time.monotonic()
            try:
                self._take(await self._fetched() if self.from_address else self._read())
            except KeysUnavailable as error:
                log.warning(
                    "can't load the keys for tokens, %(count)d earlier ones stay in use: %(error)s",
                    {"count": len(self._by_id), "error": error},
                )

    def check(self) -> None:
        """Raise `SettingsError` where a file holds no keys. An address may have them later."""
        if not self.from_address:
            try:
                self._take(self._read())
            except KeysUnavailable as error:
                raise SettingsError(f"AUTH_JWKS: {error}") from error

    def _take(self, content: bytes) -> None:
        if content == self._content:
            return
        self._by_id, self._content = _keys_in(content), content
        self.changes += 1
        said = {"count": len(self._by_id), "source": self._source}
        log.info("%(count)d keys for tokens loaded from %(source)s", said)

    def _read(self) -> bytes:
        try:
            return Path(self._source).read_bytes()
        except OSError as error:
            raise KeysUnavailable(f"{self._source} can't be read: {error.strerror}") from error

    async def _fetched(self) -> bytes:
        try:
            async with (
                ClientSession(timeout=ClientTimeout(total=FETCH_SECONDS)) as session,
                session.get(self._source, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise KeysUnavailable(f"{self._source} answered {answer.status}")
                content = await answer.content.read(LARGEST_SET + 1)
                while not answer.content.at_eof() and len(content) <= LARGEST_SET:
                    content += await answer.content.read(LARGEST_SET + 1 - len(content))
        except (ClientError, OSError, TimeoutError) as error:
            raise KeysUnavailable(f"{self._source} is out of reach: {type(error).__name__}") from error
        if len(content) > LARGEST_SET:
            raise KeysUnavailable(f"{self._source} is larger than {LARGEST_SET} bytes")
        return content


def _keys_in(content: bytes) -> dict[str, PyJWK]:
    """The keys of a set that can check signatures; secrets shared by both sides are none."""
    try:
        said = json.loads(content)
        listed = [each for each in said["keys"] if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise KeysUnavailable('it is no set of keys such as {"keys": […]}') from error
    found: dict[str, PyJWK] = {}
    for number, each in enumerate(listed):
        if each.get("kty") == "oct" or each.get("use", "sig") != "sig":
            continue
        try:
            key = PyJWK.from_dict(each)
        except PyJWTError as error:
            log.warning("a key can't be used, its tokens are refused: %(error)s", {"error": error})
            continue
        if getattr(key.key, "key_size", WEAKEST_RSA) < WEAKEST_RSA and key.key_type == "RSA":
            log.warning("a key of RSA is too short, its tokens are refused: %(bits)d bits", {"bits": key.key.key_size})
            continue
        found[str(each.get("kid", f"#{number}"))] = key
    if not found:
        raise KeysUnavailable("it holds no key that can check signatures")
    return found
