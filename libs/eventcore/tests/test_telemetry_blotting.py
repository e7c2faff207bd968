"""What goes to logs, spans and dead letters has no secrets in it, as far as they stand where secrets stand."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable

import aiohttp
import pytest
import redis
import requests
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry.trace import SpanKind
from yarl import URL

from eventcore.telemetry import fail
from eventcore.telemetry.blotting import without_secrets
from eventcore.telemetry.quick import QuickSpan, Template
from eventcore.telemetry.trouble import LONGEST_TRACEBACK, summary_of, text_of, traceback_of

SECRET = "s3cr3t-T0ken"
AUTHORIZATION = {"Authorization": f"Bearer {SECRET}", "Cookie": f"sid={SECRET}; other={SECRET}", "X-Api-Key": SECRET}
ADDRESS = f"http://user:{SECRET}@api.example/v1?api_key={SECRET}&page=2"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("https://ghp_0123@github.com/x", "https://***@github.com/x"),
        ("redis://u:pa/ss@host:6379/0", "redis://u:***@host:6379/0"),
        ("redis://:p@ss@host", "redis://:***@host"),
        ("GET /v1?token=abc&page=2 failed", "GET /v1?token=***&page=*** failed"),
        ("{'Authorization': 'Basic abc', 'Host': 'x'}", "{'Authorization': '***', 'Host': 'x'}"),
        ("[(b'cookie', b'a=b'), (b'host', b'x')]", "[(b'cookie', b'***'), (b'host', b'x')]"),
        ('{"access_token": "abc", "id": 7}', '{"access_token": "***", "id": 7}'),
        (r"{\"password\": \"abc\"}", r"{\"password\": \"***\"}"),
        ("Authorization: Basic dXNlcjpwYXNz\nHost: x", "Authorization: ***\nHost: x"),
        ("set-cookie: a=b; c=d\r\nHost: x", "set-cookie: ***\r\nHost: x"),
        ("password=abc, user=bob", "password=***, user=bob"),
        ("refused: Bearer abc.def", "refused: Bearer ***"),
        ("got eyJhbGciOi.eyJzdWIiOiIx.abc", "got ***"),
        ("authorization=Bearer abc, retried", "authorization=Bearer ***, retried"),
        ("{'Authorization': ['Bearer abc'], 'Host': ['x']}", "{'Authorization': ['***'], 'Host': ['x']}"),
        ("refused: Bearer%20abc.def", "refused: Bearer%20***"),
        ("password: hunter2, user: bob", "password: ***, user: bob"),
        ("{'auth': {'pass': 'abc'}}", "{'auth': {'pass': '***'}}"),
        ("curl --password hunter2 x", "curl --password *** x"),
        ("AccountKey=abc;EndpointSuffix=x", "AccountKey=***;EndpointSuffix=x"),
        ("X-Hub-Signature-256: sha256=abc\nHost: x", "X-Hub-Signature-256: ***\nHost: x"),
        ("BasicAuth(login='u', password='abc')", "BasicAuth(***)"),
        ("get(url, auth=('u', 'abc'))", "get(url, auth=(***))"),
        ("b'AUTH PLAIN AHUAcGFzcw==' failed", "b'AUTH PLAIN ***' failed"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END", "-----BEGIN RSA PRIVATE KEY-----***-----END"),
        ("no rights for ghp_0123456789ab", "no rights for ghp_***"),
    ],
)
def test_secrets_are_blotted_out_by_their_place(said: str, shown: str) -> None:
    assert without_secrets(said) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "harmless",
    [
        "Basic authentication is needed",
        "WEBHOOK_SECRET: too short",
        "the key order:7 holds a string",
        "Error 111 connecting to 127.0.0.1:6379. Connection refused.",
        "guard failed: stock[11:available] at least 3",
        "password: must have 12 letters",
        "SMTP AUTH extension not supported by server.",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert without_secrets(harmless) == harmless


def answered_by_aiohttp() -> Exception:
    headers = CIMultiDictProxy(CIMultiDict(AUTHORIZATION))
    about = aiohttp.RequestInfo(URL(ADDRESS), "POST", headers, URL(ADDRESS))
    return aiohttp.ClientResponseError(about, (), status=405, message="Method Not Allowed", headers=headers)


def unreached_by_requests() -> Exception:
    try:
        requests.get(ADDRESS.replace("api.example", "127.0.0.1:1"), headers=AUTHORIZATION, timeout=5)
    except requests.RequestException as error:
        return error
    raise AssertionError("somebody answered")


def answered_by_requests() -> Exception:
    answer = requests.Response()
    answer.status_code, answer.url, answer.reason = 401, ADDRESS, "Unauthorized"
    answer.request = requests.Request("GET", ADDRESS, headers=AUTHORIZATION).prepare()
    return requests.HTTPError(f"401 Client Error: Unauthorized for url: {answer.url}", response=answer)


class HTTPStatusError(Exception):
    """What httpx raises, as far as its text goes."""


ERRORS: dict[str, Callable[[], Exception]] = {
    "aiohttp, answered": answered_by_aiohttp,
    "aiohttp, unknown address": lambda: aiohttp.InvalidURL(URL(ADDRESS)),
    "requests, unreached": unreached_by_requests,
    "requests, answered": answered_by_requests,
    "httpx": lambda: HTTPStatusError(f"Client error '401 Unauthorized' for url '{ADDRESS}'"),
    "smtplib": lambda: smtplib.SMTPAuthenticationError(535, f"5.7.8 token={SECRET}".encode()),
    "smtplib, recipients": lambda: smtplib.SMTPRecipientsRefused({f"anna.{SECRET}@example.com": (550, b"unknown")}),
    "redis": lambda: redis.AuthenticationError(f"can't log in at redis://user:{SECRET}@cache:6379/0"),
    "repr of headers": lambda: RuntimeError(repr(answered_by_aiohttp())),
    "form": lambda: ValueError(f"refused: client_secret={SECRET}&grant_type=x"),
    "JSON": lambda: ValueError(f'answered {{"access_token": "{SECRET}", "type": "x"}}'),
}


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
def test_errors_of_clients_keep_their_secrets(make: Callable[[], Exception]) -> None:
    error = make()
    try:
        raise RuntimeError(f"could not book: {error!r}") from error
    except RuntimeError as outer:
        shown = [summary_of(error), summary_of(outer), traceback_of(outer)]
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
def test_nor_are_they_in_spans(make: Callable[[], Exception]) -> None:
    span = QuickSpan(Template("process", SpanKind.CONSUMER, {}), f"00-{'1' * 32}-{'2' * 16}-01")
    fail(span, make())
    assert span.status is not None
    assert SECRET not in f"{span.events} {span.attributes} {span.status.description}"


def test_a_text_is_one_line_and_bounded() -> None:
    error = ValueError("a\n\tb\x1b[31m\u202e ccc " * 1_000)
    assert text_of(error).startswith(r"a b\x1b[31m\u202e ccc")
    assert len(text_of(ValueError("c " * 10_000))) == 500


def test_a_secret_that_is_cut_in_two_is_not_shown() -> None:
    for length in range(1_900, 2_010):
        said = text_of(ValueError(f"{'ab ' * (length // 3)}http://user:{SECRET}{SECRET}@host"), 2_000)
        assert SECRET not in said
        assert SECRET not in text_of(ValueError(f"{'x' * length} http://user:{SECRET}{SECRET}@host"), 500)


def test_of_a_long_traceback_the_end_is_shown() -> None:
    shown = traceback_of(ValueError("\n".join(f"line {number} of {SECRET}=x" for number in range(10_000))))
    assert len(shown) <= LONGEST_TRACEBACK
    assert "line 9999" in shown


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    assert text_of(ValueError(text)).isprintable()
    assert without_secrets(without_secrets(text)) == without_secrets(text)


@pytest.mark.parametrize(
    "evil", ["://a:b", "@://a:b", "token", "?a", "?a=", "basic ", "x-key:", "cookie='", "a@", "eyJ", "token='@"]
)
def test_no_text_takes_long_to_look_through(evil: str) -> None:
    """Of what grows with the square of the length, four times as much takes sixteen times as long."""

    def seconds(length: int) -> float:
        began = time.process_time()
        without_secrets((evil * length)[:length] + "@")
        return time.process_time() - began

    assert min(seconds(40_000) for _ in range(3)) < max(0.5, 8 * min(seconds(10_000) for _ in range(3)))
