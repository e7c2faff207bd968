"""The channel that posts signed webhooks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
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
from .errors import ChannelUnavailable, Declined, Refused, Unanswered
from .retry_after import retry_after
from .webhook_secret import signing_key

TIMEOUT = timedelta(seconds=10)
_tracer = trace.get_tracer("notification_service")
GONE = 410
# What a receiver says of this one notification. All else (404 of an ingress during a deployment, 401 during a
# rotation) it would say of any other, until people have mended it.
ABOUT_THIS_ONE = frozenset({400, 409, 413, 415, 422})
OVERLOADED = frozenset({429, 503})
# What is said by, or in place of, a receiver that is down. Whoever says anything else may take the next one.
DOWN = OVERLOADED | {502, 504}


class WebhookChannel:
    """Posts notifications as JSON, signed by Standard Webhooks, which receivers verify and deduplicate by `webhook-id`.

    `secret` is `whsec_…` or its base64 alone. `timeout` covers everything up to the answer's headers; half of it is for
    connecting. There are as many connections as notifications under way, so that none waits for another's.
    `baggage` says that what came with a request in `baggage` and `tracestate` goes along.
    ValueError: a sentence that names the variable and holds nothing secret.
    """

    name = "webhook"

    def __init__(self, url: str, secret: str | None, *, timeout: timedelta = TIMEOUT, baggage: bool = False) -> None:
        self._url = _endpoint(url)
        self._webhook = Webhook(signing_key(secret))
        self.timeout, self._ids_only = timeout, not baggage
        self._session: ClientSession | None = None
        self._attributes: Attributes = {
            "http.request.method": "POST",
            "url.full": f"{self._url.origin()}/REDACTED",  # the path of a webhook is often its password
            "server.address": self._url.host or "",
            "server.port": self._url.port or 0,
        }

    def __repr__(self) -> str:
        return f"WebhookChannel({self._url.origin()})"

    def recipient(self, notification: Notification) -> str:
        """The receiver's origin; the rest of the URL may be a secret."""
        return str(self._url.origin())

    async def send(self, notification: Notification) -> None:
        """Return on 2xx, else raise as docs/notifications.md has it. Redirects are not followed."""
        with _tracer.start_as_current_span("POST", kind=SpanKind.CLIENT, attributes=self._attributes) as span:
            await self._post(notification, span)

    async def _post(self, notification: Notification, span: Span) -> None:
        body = json.dumps(_payload(notification), separators=(",", ":"))
        headers = self._headers(notification.key, body)
        post = self._session_here().post(self._url, data=body.encode(), headers=headers, allow_redirects=False)
        try:
            async with post as response:
                _describe(span, response.status)
                self._judge(response)  # the body is left unread: aiohttp takes in one buffer of it at most
        except (ClientConnectorError, ConnectionTimeoutError) as error:  # "from None": some quote the whole URL
            span.set_attribute("error.type", type(error).__qualname__)
            raise ChannelUnavailable(f"{self._url.origin()} can't be reached: {_reason(error)}") from None
        except TimeoutError:
            span.set_attribute("error.type", "timeout")
            seconds = self.timeout.total_seconds()
            raise Unanswered(f"{self._url.origin()} did not answer within {seconds:g} s") from None
        except (ClientError, OSError) as error:
            span.set_attribute("error.type", type(error).__qualname__)
            raise Unanswered(f"{self._url.origin()} gave no answer: {_reason(error)}") from None

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _session_here(self) -> ClientSession:
        """The session, created within the running loop on first use."""
        if self._session is None:
            seconds = self.timeout.total_seconds()
            self._session = ClientSession(
                connector=TCPConnector(limit=0),
                timeout=ClientTimeout(total=seconds, sock_connect=seconds / 2),
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
        inject(headers, ids_only=self._ids_only)
        return headers

    def _judge(self, response: ClientResponse) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        message = f"{self._url.origin()} answered {status}"
        if status == GONE:
            raise Refused(message)
        if status in ABOUT_THIS_ONE:
            raise Declined(message)
        wait = retry_after(response.headers.get("retry-after"), datetime.now(UTC))
        raise ChannelUnavailable(message, wait, overloaded=status in OVERLOADED, answered=status not in DOWN)


def _describe(span: Span, status: int) -> None:
    """As OpenTelemetry's conventions for HTTP clients have it."""
    span.set_attribute("http.response.status_code", status)
    if status >= 400:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _payload(notification: Notification) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "customerId": notification.customer_id,
        "email": notification.email,
        "items": [{"productId": line.product_id, "quantity": line.quantity} for line in notification.items],
        "reason": notification.reason,
        "shortages": [
            {"productId": shortage.product_id, "requested": shortage.requested, "available": shortage.available}
            for shortage in notification.shortages
        ],
    }
    present = {name: value for name, value in optional.items() if value}
    return {
        "type": notification.kind.value,
        "timestamp": notification.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"orderId": notification.order_id, **present, "correlationId": notification.correlation_id},
    }


def _endpoint(text: str) -> URL:
    try:
        url = URL(text)
        if url.scheme in ("http", "https") and url.host and url.host.encode("idna"):  # UnicodeError is a ValueError
            return url.with_fragment(None)
    except ValueError:
        pass
    raise ValueError("WEBHOOK_URL must be an address such as https://example.com/hooks/orders")


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
