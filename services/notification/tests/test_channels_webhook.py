"""The webhook channel against a real HTTP server, which verifies with Standard Webhooks' own verifier."""

from __future__ import annotations

import asyncio
import base64
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from standardwebhooks import Webhook, WebhookVerificationError

from eventcore.telemetry import PassingSpan, current
from notification_service.channels import (
    ChannelError,
    ChannelUnavailable,
    Declined,
    MissingLine,
    Notification,
    NotificationKind,
    OrderedLine,
    Refused,
    Unanswered,
)
from notification_service.channels.retry_after import LONGEST, retry_after
from notification_service.channels.webhook import WebhookChannel
from notification_service.channels.webhook_secret import caution

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "hunter2"
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
CONFIRMED = Notification(
    id="01994c1e-0000-7000-8000-000000000001",
    order_id="42",
    kind=NotificationKind.ORDER_CONFIRMED,
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    occurred_at=NOW,
    customer_id="VINET",
    email="anna@example.com",
    items=(OrderedLine("11", 12),),
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """An HTTP server on a port of its own: keeps what arrives, and answers as told."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.url = ""
        self.requests: list[tuple[dict[str, str], str]] = []
        self.peers: set[Any] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, await request.text()))
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        return await self.answer(request) if self.answer else web.Response(status=204)

    def verified(self, index: int = 0) -> Any:
        headers, body = self.requests[index]
        return Webhook(SECRET).verify(body, headers)


@asynccontextmanager
async def running(receiver: Receiver) -> AsyncIterator[Receiver]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def posting(to: Receiver, path: str = "/hook", **options: Any) -> AsyncIterator[WebhookChannel]:
    channel = WebhookChannel(to.url + path, SECRET, **options)
    try:
        yield channel
    finally:
        await channel.close()


def status(code: int, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


# What arrives


async def test_a_confirmed_order_arrives_signed_and_complete() -> None:
    async with running(Receiver()) as receiver, posting(receiver) as channel:
        await channel.send(CONFIRMED)
    assert receiver.verified() == {
        "type": "order_confirmed",
        "timestamp": "2026-11-23T10:00:00.000Z",
        "data": {
            "orderId": "42",
            "customerId": "VINET",
            "email": "anna@example.com",
            "items": [{"productId": "11", "quantity": 12}],
            "correlationId": "4bf92f3577b34da6a3ce929d0e0e4736",
        },
    }
    headers, _ = receiver.requests[0]
    assert headers["webhook-id"] == CONFIRMED.id
    assert headers["content-type"] == "application/json"


async def test_a_rejected_order_says_why_and_leaves_out_what_is_not_known() -> None:
    rejected = replace(
        CONFIRMED,
        kind=NotificationKind.ORDER_REJECTED,
        customer_id=None,
        email=None,
        items=(),
        reason="out_of_stock",
        shortages=(MissingLine("11", 12, 0),),
    )
    async with running(Receiver()) as receiver, posting(receiver) as channel:
        await channel.send(rejected)
    assert receiver.verified()["data"] == {
        "orderId": "42",
        "reason": "out_of_stock",
        "shortages": [{"productId": "11", "requested": 12, "available": 0}],
        "correlationId": "4bf92f3577b34da6a3ce929d0e0e4736",
    }


async def test_another_secret_does_not_verify() -> None:
    async with running(Receiver()) as receiver, posting(receiver) as channel:
        await channel.send(CONFIRMED)
    headers, body = receiver.requests[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(b"another secret")).verify(body, headers)


@pytest.mark.parametrize("secret", [SECRET.removeprefix("whsec_"), "c2VjcmV0IHNlY3JldA==", "whsec_c2VjcmV0IHNlY3JldA"])
async def test_the_secret_may_come_without_prefix_or_padding(secret: str) -> None:
    async with running(Receiver()) as receiver:
        channel = WebhookChannel(receiver.url, secret)
        await channel.send(CONFIRMED)
        await channel.close()
    headers, body = receiver.requests[0]
    assert Webhook(secret).verify(body, headers)


async def test_an_old_event_is_signed_with_the_time_of_the_attempt() -> None:
    async with running(Receiver()) as receiver, posting(receiver) as channel:
        await channel.send(replace(CONFIRMED, occurred_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert receiver.verified()["timestamp"] == "2020-01-01T00:00:00.000Z"  # an old signature would not verify


@pytest.mark.parametrize("strange", ["1\r\nx-admin: yes", "a.b", "ü", "half a pair: \ud83d"])
async def test_any_text_can_be_sent_and_verified(strange: str) -> None:
    async with running(Receiver()) as receiver, posting(receiver) as channel:
        await channel.send(replace(CONFIRMED, id=strange, order_id=strange, items=(OrderedLine(strange, 1),)))
    headers, _ = receiver.requests[0]
    assert receiver.verified()["data"]["orderId"] == strange
    assert "x-admin" not in headers
    assert "." not in headers["webhook-id"]


async def test_the_receiver_can_continue_the_trace() -> None:
    context = SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, False, TraceFlags(1))
    async with running(Receiver()) as receiver, posting(receiver) as channel:
        with trace.use_span(NonRecordingSpan(context)):
            await channel.send(CONFIRMED)
    headers, _ = receiver.requests[0]
    assert headers["traceparent"] == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("baggage", [True, False])
async def test_what_strangers_put_into_trace_headers_goes_along_only_where_a_setting_says_so(baggage: bool) -> None:
    span = PassingSpan("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=stranger", is_remote=True)
    async with running(Receiver()) as receiver, posting(receiver, baggage=baggage) as channel:
        with current(span, "who=stranger"):
            await channel.send(CONFIRMED)
    headers, _ = receiver.requests[0]
    assert headers["traceparent"] == span.traceparent
    expected = ("who=stranger", "vendor=stranger") if baggage else (None, None)
    assert (headers.get("baggage"), headers.get("tracestate")) == expected


# What receivers answer


@pytest.mark.parametrize("code", [200, 201, 202, 204])
async def test_any_2xx_is_acceptance(code: int) -> None:
    async with running(Receiver(status(code))) as receiver, posting(receiver) as channel:
        await channel.send(CONFIRMED)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (410, Refused),
        *((code, Declined) for code in (400, 409, 413, 415, 422)),
        *((code, ChannelUnavailable) for code in (401, 403, 404, 405, 407, 408, 425, 429, 500, 502, 503, 504)),
    ],
)
async def test_only_gone_is_final_and_only_some_answers_are_about_this_notification(
    code: int, error: type[ChannelError]
) -> None:
    async with running(Receiver(status(code))) as receiver, posting(receiver) as channel:
        with pytest.raises(error, match=f"answered {code}") as raised:
            await channel.send(CONFIRMED)
    assert type(raised.value) is error
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [429, 503])
async def test_the_receiver_says_how_long_to_wait(code: int) -> None:
    async with running(Receiver(status(code, retry_after="42"))) as receiver, posting(receiver) as channel:
        with pytest.raises(ChannelUnavailable) as raised:
            await channel.send(CONFIRMED)
    assert raised.value.retry_after == timedelta(seconds=42)


async def test_the_receiver_says_until_when_to_wait() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    async with running(Receiver(status(503, retry_after=until))) as receiver, posting(receiver) as channel:
        with pytest.raises(ChannelUnavailable) as raised:
            await channel.send(CONFIRMED)
    assert raised.value.retry_after is not None
    assert timedelta(0) < raised.value.retry_after <= timedelta(seconds=50)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, None),
        ("0", timedelta(0)),
        (" 7 ", timedelta(seconds=7)),
        ("3600", LONGEST),
        ("9" * 5000, LONGEST),
        ("Mon, 23 Nov 2026 10:00:30 GMT", timedelta(seconds=30)),
        ("Mon, 23 Nov 2026 10:00:30 -0000", timedelta(seconds=30)),
        ("Mon, 23 Nov 2026 09:00:00 GMT", timedelta(0)),
        ("Tue, 23 Nov 2027 10:00:00 GMT", LONGEST),
        *((nonsense, None) for nonsense in ("", "-1", "1.5", "soon", "\u0663", "Mon, 99 Nov 2026 10:00:00 GMT")),
        (f"Mon, 23 Nov {'9' * 20} 10:00:00 GMT", None),
        (f"Mon, 23 Nov 2026 10:00:00 +{'9' * 20}", None),
    ],
)
def test_retry_after_is_read_within_reason(value: str | None, wait: timedelta | None) -> None:
    assert retry_after(value, NOW) == wait


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(code: int) -> None:
    async with running(Receiver(status(code, location="/elsewhere"))) as receiver, posting(receiver) as channel:
        with pytest.raises(ChannelUnavailable, match=f"answered {code}"):
            await channel.send(CONFIRMED)
    assert len(receiver.requests) == 1


async def test_a_receiver_that_hangs_may_have_it() -> None:
    over = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with running(Receiver(hang)) as receiver, posting(receiver, timeout=timedelta(seconds=0.2)) as channel:
        with pytest.raises(Unanswered, match=r"did not answer within 0\.2 s"):
            await channel.send(CONFIRMED)
        over.set()


async def test_a_receiver_that_hangs_up_may_have_it() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with running(Receiver(hang_up)) as receiver, posting(receiver) as channel:
        with pytest.raises(Unanswered, match="gave no answer"):
            await channel.send(CONFIRMED)


async def test_nobody_listening_is_transient() -> None:
    async with running(Receiver()) as receiver:
        pass
    async with posting(receiver) as channel:
        with pytest.raises(ChannelUnavailable, match="can't be reached: Connect") as raised:
            await channel.send(CONFIRMED)
    assert raised.value.retry_after is None


async def test_an_endless_answer_is_not_listened_to() -> None:
    over = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            over.set()

    async with running(Receiver(endless)) as receiver, posting(receiver) as channel:
        await channel.send(CONFIRMED)
        await over.wait()


# Connections


async def test_webhooks_one_after_the_other_share_a_connection() -> None:
    async with running(Receiver(status(200))) as receiver, posting(receiver) as channel:
        for _ in range(3):
            await channel.send(CONFIRMED)
    assert len(receiver.requests) == 3
    assert len(receiver.peers) == 1


async def test_no_webhook_waits_for_the_connection_of_another() -> None:
    arrived, many = asyncio.Semaphore(0), 150
    go_on = asyncio.Event()

    async def wait(_: web.Request) -> web.StreamResponse:
        arrived.release()
        await go_on.wait()
        return web.Response()

    async with running(Receiver(wait)) as receiver, posting(receiver) as channel:
        posts = asyncio.gather(*(channel.send(CONFIRMED) for _ in range(many)))
        for _ in range(many):
            await arrived.acquire()
        go_on.set()
        await posts
    assert len(receiver.peers) == many


# Settings and secrets


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_there_is_no_channel(secret: str | None) -> None:
    with pytest.raises(ValueError, match=r"^WEBHOOK_SECRET is required with WEBHOOK_URL$"):
        WebhookChannel("https://example.com", secret)


@pytest.mark.parametrize("secret", ["whsec_", "====", "hunter2!", "whsec_a b c", "a-b_c-d_", "x", "geheimniß"])
def test_a_secret_that_is_not_base64_is_explained(secret: str) -> None:
    sentence = "WEBHOOK_SECRET must be whsec_ and base64, or base64 alone"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        WebhookChannel("https://example.com", secret)


@pytest.mark.parametrize("secret", ["AAAA", "whsec_c2VjcmU=", "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="])
def test_a_secret_that_anybody_can_guess_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^WEBHOOK_SECRET is too easy to guess: take 24 to 64 random bytes") as raised:
        WebhookChannel("https://example.com", secret)
    assert secret not in str(raised.value)


@pytest.mark.parametrize(("secret", "warned"), [("whsec_c2VjcmV0", True), (SECRET, False), (None, False)])
def test_a_short_secret_is_taken_with_a_warning(secret: str | None, warned: bool) -> None:
    said = caution(secret)
    assert (said is not None) is warned
    assert said is None or "6 bytes" in said


@pytest.mark.parametrize(
    "url",
    ["", "example.com/hook", "ftp://example.com", "https://", "https://u:hunter2@h:port/", "https://u:hunter2@a..b/"],
)
def test_a_wrong_url_is_explained_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^WEBHOOK_URL must be") as raised:
        WebhookChannel(url, SECRET)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


async def test_only_the_origin_of_the_url_is_ever_shown() -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 nonsense\r\n\r\n")
        return await status(200)(request)

    async with running(Receiver(nonsense)) as receiver, posting(receiver, f"/{TOKEN}?token={TOKEN}") as channel:
        with pytest.raises(ChannelUnavailable, match=receiver.url) as raised:
            await channel.send(CONFIRMED)
    assert TOKEN not in "".join(traceback.format_exception(raised.value))
    assert channel.recipient(CONFIRMED) == receiver.url
    assert repr(channel) == f"WebhookChannel({receiver.url})"
    assert TOKEN not in repr(WebhookChannel(f"https://u:{TOKEN}@example.com/{TOKEN}", SECRET))
