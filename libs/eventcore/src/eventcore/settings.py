"""Settings read from the environment, checked once at start, so that a wrong one stops the program with one line."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import SettingsError

# For ever, to anybody, and far below where Redis and asyncio can't count any further.
LONGEST_SECONDS, MOST_ENTRIES = 100 * 365 * 86_400, 10**12
LARGEST_PORT, LARGEST_DATABASE = 65_535, 2**31 - 1


def _hidden(secret: SecretStr | str) -> SecretStr:
    return secret if isinstance(secret, SecretStr) else SecretStr(secret)


def _redis_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("must start with redis:// or rediss://")
    if not parts.hostname:
        raise ValueError("names no host")
    try:
        _ = parts.port
    except ValueError:  # whose words show what may be the beginning of a password
        raise ValueError("names no port from 0 to 65535 (in a password, '/' is %2F, and '@' %40)") from None
    if parts.path.strip("/") and not _is_number(parts.path.strip("/"), LARGEST_DATABASE):
        raise ValueError("must end with a database number, as in redis://host:6379/0")
    if parts.query or parts.fragment:
        raise ValueError("takes no options after '?' or '#'")
    return url


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


# Made from text as well, so that `Settings(redis_url="redis://…")` is right to type checkers; always held hidden.
Secret = Annotated[SecretStr | str, AfterValidator(_hidden)]


def _on_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()  # None, where it is closed


class Settings(BaseSettings):
    """The settings of every service. Services add their own fields in a subclass."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    redis_url: Annotated[Secret, AfterValidator(_redis_url)] = SecretStr("redis://localhost:6379/0")
    redis_password: Secret | None = None
    redis_password_file: Path | None = None
    redis_ca_file: Path | None = None
    redis_sentinels: Annotated[tuple[tuple[str, int], ...], NoDecode] = ()
    redis_sentinel_master: str | None = None
    redis_sentinel_password: Secret | None = None
    """Of the Sentinels themselves, which know Redis's own; there is none by default, whatever Redis's is."""
    redis_sentinel_password_file: Path | None = None
    key_prefix: str = Field(default="", max_length=100, pattern=r"^[^\s]*$")

    host: str = ""
    """The address to listen on; empty: all there are, IPv6 and IPv4."""
    port: int = Field(default=8000, ge=1, le=65535)
    management_port: int | None = Field(default=None, ge=1, le=65535)
    """Where probes, metrics and the API's document are served, and nothing else; without it, `port` serves all."""
    max_connections: int = Field(default=4096, ge=1, le=1_000_000)
    """Clients connected at once, and fewer where the limit of open files (`ulimit -n`) is low; others get a 503."""
    max_connections_per_address: int = Field(default=0, ge=0, le=1_000_000)
    """Of these, how many one address may hold (then 429); 0: any number, for behind a proxy all have one address."""
    pod_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", max_length=253, pattern=r"^[^\s]+$"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = Field(default_factory=lambda: "console" if _on_a_terminal() else "json")

    consumer_batch: int = Field(default=256, ge=1, le=10_000)
    """Entries asked for in one read."""
    consumer_concurrency: int = Field(default=64, ge=1, le=10_000)
    """Deliveries held at once by a group with `async` handlers."""
    consumer_waiting: int = Field(default=256, ge=1, le=100_000)
    """Deliveries waiting for a retry; at this many the consumer stops reading."""
    consumer_aside: int = Field(default=10_000, ge=0, le=1_000_000)
    """Deliveries of a group that may be put aside at once, because they wait for long; with 0 all stay pending."""
    aside_after_seconds: float = Field(default=60, gt=0, le=LONGEST_SECONDS)
    """How long a delivery waits for further attempts before it is put aside."""
    retry_attempts: int = Field(default=5, ge=1, le=1000)
    rollout_seconds: float = Field(default=600, ge=0, le=LONGEST_SECONDS)
    """How long an event of a newer major version is tried again before it is dead-lettered."""
    drain_seconds: float = Field(default=20, ge=0, le=3600)
    """How long deliveries in hand may take to finish after SIGTERM."""
    heartbeat_seconds: float = Field(default=1, ge=0.01, le=60)
    dead_after_seconds: float = Field(default=5, gt=0, le=3600)
    """A consumer silent for so long is dead: its peers take over what it held."""
    stream_cap: int = Field(default=1_000_000, ge=1, le=MOST_ENTRIES)
    """Entries at which a stream refuses new events (HTTP answers 503) rather than drop old ones."""
    stream_keep_seconds: float = Field(default=86_400, ge=0, le=LONGEST_SECONDS)
    """How long entries stay that every group has finished with."""
    stream_keep_entries: int = Field(default=200_000, ge=0, le=MOST_ENTRIES)
    """How many of those stay at most; half of `stream_cap`, where that is less."""
    dlq_keep_seconds: float = Field(default=30 * 86_400, ge=0, le=LONGEST_SECONDS)
    dlq_keep_entries: int = Field(default=100_000, ge=1, le=MOST_ENTRIES)
    drop_groups_idle_seconds: float | None = Field(default=None, ge=0.1, le=LONGEST_SECONDS)
    """Forget a group whose consumers have all been gone for so long, so that it no longer holds up trimming."""
    group_recreated_at: Literal["beginning", "start"] = "beginning"
    """Where a group begins that somebody has destroyed: at the beginning of the stream, or at its router's `start`."""
    http_header_seconds: float = Field(default=10, gt=0, le=3600)
    """How long a client may take from the first byte of a request to the end of its headers (then 408)."""
    http_body_seconds: float = Field(default=15, gt=0, le=3600)
    """How long a body may take, beside what a pace of 16 KiB a second gives it (then 408)."""
    http_idle_seconds: float = Field(default=75, gt=0, le=3600)
    """How long a connection stays open between requests: longer than load balancers do, so that they close first."""
    http_unread_seconds: float = Field(default=30, gt=0, le=3600)
    """How long a client may leave an answer unread before its connection is closed."""
    http_memory_bytes: int = Field(default=16 * 1024 * 1024, ge=1024 * 1024, le=1 << 40)
    """What all bodies that are being received may take together (then 503), and what all unread answers may."""
    auth_jwks: str | None = None
    """The keys that tokens are signed with: a file, or the address of a provider's JWKS. Without it all may do all."""
    auth_issuer: str | None = None
    """Who must have issued tokens: their claim `iss`."""
    auth_audience: str | None = None
    """For whom they must be issued: their claim `aud`."""
    auth_algorithms: Annotated[tuple[Algorithm, ...], NoDecode] = ("RS256", "ES256")
    """How they may be signed."""
    auth_leeway_seconds: float = Field(default=30, ge=0, le=600)
    """How far the provider's clock may be off."""
    rate_limit_requests: int = Field(default=0, ge=0, le=1_000_000)
    """How many requests each client may send at once, and within `rate_limit_seconds`; 0: any number."""
    rate_limit_seconds: float = Field(default=60, ge=0.1, le=86_400)
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """How many proxies of ours stand in front: a client is whom the outermost saw, by `X-Forwarded-For`."""
    baggage_bytes: int = Field(default=512, ge=0, le=8192)
    """How much of a request's `baggage` goes along with its events; members beyond that are dropped."""
    trust_trace_flags: bool = False
    """Whether a request's `traceparent` says if its trace is recorded; else our own sampler says so."""
    eviction_policy: Literal["refuse", "warn"] = "refuse"
    """What to do on a server that may evict streams: refuse to start, or only warn."""

    @field_validator("redis_sentinels", mode="before")
    @classmethod
    def _split_sentinels(cls, value: Any) -> Any:
        return tuple(_host_and_port(part) for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("auth_algorithms", mode="before")
    @classmethod
    def _split_algorithms(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("redis_password_file", "redis_sentinel_password_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                path.read_text(encoding="utf-8")
            except OSError as error:
                raise ValueError(f"{path} can't be read: {error.strerror}") from error
        return path

    @field_validator("redis_ca_file")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            except ssl.SSLError as error:
                raise ValueError(f"{path} holds no certificate in PEM format") from error
            except OSError as error:
                raise ValueError(f"{path} can't be read: {error.strerror}") from error
        return path

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.management_port == self.port:
            raise ValueError("MANAGEMENT_PORT must be another than PORT")
        if bool(self.redis_sentinels) != bool(self.redis_sentinel_master):
            raise ValueError("REDIS_SENTINELS and REDIS_SENTINEL_MASTER go together")
        if len({bool(self.auth_jwks), bool(self.auth_issuer), bool(self.auth_audience)}) > 1:
            raise ValueError("AUTH_JWKS, AUTH_ISSUER and AUTH_AUDIENCE go together")
        if self.dead_after_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("DEAD_AFTER_SECONDS must be at least twice HEARTBEAT_SECONDS")
        return self

    @property
    def url(self) -> str:
        """`redis_url` in the open, with the password that may be in it."""
        return _hidden(self.redis_url).get_secret_value()

    @property
    def password(self) -> str | None:
        """The password that overrides the URL's: the variable first, then the file (without its last line break)."""
        return _secret(self.redis_password, self.redis_password_file)

    @property
    def sentinel_password(self) -> str | None:
        """The password of the Sentinels, in the same way."""
        return _secret(self.redis_sentinel_password, self.redis_sentinel_password_file)

    @property
    def redis_address(self) -> str:
        """Where Redis is, for people: no user, no password."""
        if self.redis_sentinels:
            return f"{self.redis_sentinel_master} by Sentinel"
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or 6379}"


def _secret(value: Secret | None, file: Path | None) -> str | None:
    if value is not None:
        return _hidden(value).get_secret_value()
    return None if file is None else file.read_text(encoding="utf-8").rstrip("\r\n")


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.strip().rpartition(":")
    if not (colon and host and _is_number(port, LARGEST_PORT)):
        raise ValueError(f"{text!r} is not host:port")
    return host.strip("[]"), int(port)


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S], **overrides: Any) -> S:
    """Read settings from the environment. Raises `SettingsError` with one readable line that names each variable."""
    try:
        return settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_complaint, error.errors(include_url=False)))) from None


def _complaint(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    variable = "_".join(str(part) for part in error["loc"][:1]).upper()
    return f"{variable}: {message}" if variable else message
