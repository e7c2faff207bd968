"""Rate limits: each client has a bucket of its own, and hears how much is left in it."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from eventcore.web import Problem, create_service
from eventcore.web.rates import MOST_CLIENTS, Rates

from .test_web import NOWHERE, notes_api, serving
from .test_web_errors import problem


def refused(rates: Rates, client: str, now: float) -> Problem | None:
    """The problem of a request at this time, or nothing if it is let through."""
    try:
        rates.take(client, now)
    except Problem as said:
        return said
    return None


def test_as_many_requests_as_the_bucket_holds_are_let_through_at_once() -> None:
    rates = Rates(5, 10.0, proxies=0)
    assert [rates.take("a", 100.0) for _ in range(5)] == [4, 3, 2, 1, 0]
    said = refused(rates, "a", 100.0)
    assert said is not None
    assert (said.status, said.headers["Retry-After"]) == (429, "2")


def test_the_bucket_fills_up_evenly() -> None:
    rates = Rates(5, 10.0, proxies=0)
    for _ in range(5):
        rates.take("a", 100.0)
    assert refused(rates, "a", 101.9)
    assert not refused(rates, "a", 102.0)
    assert refused(rates, "a", 102.1)
    assert [refused(rates, "a", 200.0) for _ in range(5)] == [None] * 5
    assert refused(rates, "a", 200.0)


def test_nobody_pays_for_another() -> None:
    rates = Rates(1, 10.0, proxies=0)
    rates.take("a", 100.0)
    assert refused(rates, "a", 100.0)
    assert not refused(rates, "b", 100.0)


def test_strangers_without_number_take_a_bounded_memory() -> None:
    rates = Rates(1, 10.0, proxies=0)
    for number in range(MOST_CLIENTS + 100):
        rates.take(str(number), 100.0)
    assert len(rates._full_at) <= MOST_CLIENTS
    assert refused(rates, str(MOST_CLIENTS + 99), 100.0)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "remote", "client"),
    [
        (0, ["9.9.9.9"], "1.2.3.4", "1.2.3.4"),
        (1, ["8.8.8.8, 9.9.9.9"], "10.0.0.1", "9.9.9.9"),
        (2, ["8.8.8.8, 9.9.9.9"], "10.0.0.1", "8.8.8.8"),
        (2, ["7.7.7.7", "8.8.8.8", "9.9.9.9"], "10.0.0.1", "8.8.8.8"),
        (2, ["9.9.9.9"], "10.0.0.1", "10.0.0.1"),
        (1, [], "10.0.0.1", "10.0.0.1"),
        (0, [], "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (0, [], "::ffff:1.2.3.4", "1.2.3.4"),
        (1, ["no address"], "10.0.0.1", "no address"),
    ],
)
def test_a_client_is_the_address_that_our_own_proxies_saw(
    proxies: int, forwarded: list[str], remote: str, client: str
) -> None:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    request = make_mocked_request("GET", "/", headers).clone(remote=remote)
    assert Rates(1, 1, proxies=proxies).client_of(request) == client


async def test_a_client_is_told_what_is_left_and_refused_when_nothing_is() -> None:
    settings = NOWHERE.model_copy(update={"rate_limit_requests": 2, "rate_limit_seconds": 60})
    async with serving(create_service(settings, name="notes", api=notes_api())) as client:
        first, second, third = [await client.get("/notes/unknown") for _ in range(3)]
        assert (first.status, first.headers["RateLimit"], first.headers["RateLimit-Policy"]) == (
            404,
            '"client";r=1;t=30',
            '"client";q=2;w=60',
        )
        assert (second.status, second.headers["RateLimit"]) == (404, '"client";r=0;t=30')
        await problem(third, 429)
        assert 0 < int(third.headers["Retry-After"]) <= 30
        for _ in range(3):
            assert (await client.get("/livez")).status == 200


async def test_without_a_limit_nothing_is_said_of_one() -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        answer: Any = await client.get("/notes/unknown")
        assert "RateLimit" not in answer.headers
