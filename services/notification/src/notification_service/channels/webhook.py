"""The channel that posts signed webhooks."""

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import Attributes
from standardwebhooks import Webhook
from yarl import URL

from eventcore.telemetry import inject

from .base import Notification
from .errors import Refused, Unavailable
from .retry_after import retry_after

__all__ = ["WebhookChannel"]

MAX_CONNECTIONS = 32
TIMEOUT = timedelta(seconds=10)
_tracer = trace.get_tracer("notification_service")
TRANSIENT_4XX = frozenset({408, 425, 429})


class WebhookChannel:
    """Posts notifications as JSON, signed by Standard Webhooks, which receivers verify and deduplicate by `webhook-id`.

    `secret` is `whsec_…` or its base64 alone. `timeout` covers everything, from waiting for a free connection to the
    answer's headers. ValueError: a sentence that names the variable and holds nothing secret.
    """

    name = "webhook"

    def __init__(self, url: str, secret: str | None, *, timeout: timedelta = TIMEOUT) -> None:
        self._url = _endpoint(url)
        self._webhook = Webhook(_key(secret))
        self._timeout = timeout
        self._session: ClientSession | None = None
        self._attributes: Attributes = {
            "http.request.method": "POST",
            "url.full": f"{self._url.origin()}/REDACTED",  # the path of a webhook is often its password
            "server.address": self._url.host or "",
            "server.port": self._url.port or 0,
        }

    def __repr__(self) -> str:
        return f"WebhookChannel({self._url.origin()})"

    def recipient(self, n: Notification) -> str:
        """The receiver's origin; the rest of the URL may be a secret."""
        return str(self._url.origin())

    async def send(self, n: Notification) -> None:
        """Return on 2xx; `Refused` on 4xx but 408, 425 and 429; else `Unavailable`. Redirects are not followed."""
        with _tracer.start_as_current_span("POST", kind=SpanKind.CLIENT, attributes=self._attributes) as span:
            await self._post(n, span)

    async def _post(self, n: Notification, span: Span) -> None:
        body = json.dumps(_payload(n), separators=(",", ":"))
        headers = self._headers(n.key, body)
        post = self._session_here().post(self._url, data=body.encode(), headers=headers, allow_redirects=False)
        try:
            async with post as response:
                _describe(span, response.status)
                self._judge(response)  # the body is left unread: aiohttp takes in one buffer of it at most
        except TimeoutError:
            span.set_attribute("error.type", "timeout")
            seconds = self._timeout.total_seconds()
            raise Unavailable(f"{self._url.origin()} did not answer within {seconds:g} s") from None
        except (ClientError, OSError) as error:  # "from None": some of these quote the whole URL
            span.set_attribute("error.type", type(error).__qualname__)
            raise Unavailable(f"{self._url.origin()} can't be reached: {_reason(error)}") from None

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _session_here(self) -> ClientSession:
        """The session, created within the running loop on first use."""
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=MAX_CONNECTIONS),
                timeout=ClientTimeout(total=self._timeout.total_seconds()),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    def _headers(self, key: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)  # of this attempt: receivers refuse what is older than five minutes
        headers = {
            "content-type": "application/json",
            "user-agent": "notification-service",
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(key, now, body),
        }
        inject(headers)
        return headers

    def _judge(self, response: ClientResponse) -> None:
        if 200 <= response.status < 300:
            return
        message = f"{self._url.origin()} answered {response.status}"
        if 400 <= response.status < 500 and response.status not in TRANSIENT_4XX:
            raise Refused(message)
        raise Unavailable(message, retry_after(response.headers.get("retry-after"), datetime.now(UTC)))


def _describe(span: Span, status: int) -> None:
    """As OpenTelemetry's conventions for HTTP clients have it."""
    span.set_attribute("http.response.status_code", status)
    if status >= 400:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _payload(n: Notification) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "customerId": n.customer_id,
        "email": n.email,
        "items": [{"productId": line.product_id, "quantity": line.quantity} for line in n.items],
        "reason": n.reason,
        "shortages": [
            {"productId": shortage.product_id, "requested": shortage.requested, "available": shortage.available}
            for shortage in n.shortages
        ],
    }
    present = {name: value for name, value in optional.items() if value}
    return {
        "type": n.kind.value,
        "timestamp": n.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"orderId": n.order_id, **present, "correlationId": n.correlation_id},
    }


def _endpoint(text: str) -> URL:
    try:
        url = URL(text)
        if url.scheme in ("http", "https") and url.host:
            return url.with_fragment(None)
    except ValueError:
        pass
    raise ValueError("WEBHOOK_URL must be an address such as https://example.com/hooks/orders")


def _key(secret: str | None) -> bytes:
    """Decoded strictly: the package skips what is not base64, and would sign with another key than was meant."""
    if not secret:
        raise ValueError("WEBHOOK_SECRET is required with WEBHOOK_URL")
    encoded = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("WEBHOOK_SECRET must be whsec_ and base64, or base64 alone")
    return key


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
