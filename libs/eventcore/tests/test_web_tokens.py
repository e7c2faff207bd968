"""Tokens: who brings none, a wrong one, or one that grants too little is refused, and says why."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestServer

from eventcore import Settings, SettingsError
from eventcore.settings import load
from eventcore.testing import until
from eventcore.web import Api, Token, create_service, keys, token
from eventcore.web.keys import KeySet
from eventcore.web.scopes import AUTHORITY
from eventcore.web.tokens import check_tokens

from .test_web import NOWHERE, Client, serving
from .test_web_errors import problem
from .tokens import AUDIENCE, ISSUER, Provider, bearer


def secured_api() -> Api:
    """An endpoint for readers, and one for everybody."""
    api = Api()

    @api.get("/notes", scope="notes:read", answers={200: dict})
    async def list_notes(request: web.Request) -> dict[str, str]:
        """Say who asks."""
        given: Token | None = token(request)
        return {"asks": given.subject if given else "a stranger"}

    @api.get("/open", answers={200: dict})
    async def say_hello(request: web.Request) -> dict[str, str]:
        """Greet everybody."""
        return {"said": "hello"}

    return api


def settings_for(source: object, **more: Any) -> Settings:
    """Settings by which tokens are checked with the keys at `source`."""
    about = {"auth_jwks": str(source), "auth_issuer": ISSUER, "auth_audience": AUDIENCE}
    return NOWHERE.model_copy(update={**about, **more})


@pytest.fixture(params=[False, True], ids=["RSA", "EC"])
def provider(request: pytest.FixtureRequest) -> Provider:
    return Provider(curve=request.param)


@pytest_asyncio.fixture
async def client(provider: Provider, tmp_path: Path) -> AsyncIterator[Client]:
    settings = settings_for(provider.write(tmp_path / "jwks.json"))
    async with serving(create_service(settings, name="notes", api=secured_api())) as client:
        yield client


async def refused(answer: ClientResponse, status: int, error: str | None) -> dict[str, Any]:
    """The problem, whose challenge names this error."""
    said = await problem(answer, status)
    told = answer.headers["WWW-Authenticate"]
    assert told.startswith("Bearer")
    assert (f'error="{error}"' in told) == (error is not None)
    return said


async def test_a_token_that_grants_the_scope_is_let_through(client: Client, provider: Provider) -> None:
    for scopes in (
        {"scope": "a notes:read b"},
        {"scope": None, "scp": ["notes:read"]},
        {"scope": None, "scp": "notes:read"},
    ):
        answer = await client.get("/notes", headers=bearer(provider.token(**scopes)))
        assert (answer.status, await answer.json()) == (200, {"asks": "anna"})


async def test_without_a_token_what_needs_one_is_refused_and_nothing_else(client: Client) -> None:
    answer = await client.get("/notes")
    await refused(answer, 401, None)
    assert 'scope="notes:read"' in answer.headers["WWW-Authenticate"]
    for path in ("/open", "/livez", "/openapi.json"):
        assert (await client.get(path)).status == 200


async def test_a_token_that_grants_something_else_is_refused(client: Client, provider: Provider) -> None:
    answer = await client.get("/notes", headers=bearer(provider.token("notes:write", "notes:rea", "NOTES:READ")))
    await refused(answer, 403, "insufficient_scope")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": -(10**30)},
        {"nbf": 4_102_444_800},
        {"iat": 4_102_444_800},
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://login.example.org/"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 201},
        {"sub": "a\nb"},
    ],
    ids=str,
)
async def test_claims_that_do_not_hold_are_refused(client: Client, provider: Provider, claims: dict[str, Any]) -> None:
    token_text = jwt_of(provider, claims)
    await refused(await client.get("/notes", headers=bearer(token_text)), 401, "invalid_token")


def jwt_of(provider: Provider, claims: dict[str, Any]) -> str:
    """A token with any claims, also those that the library would not sign."""
    key_id, key = list(provider.keys.items())[-1]
    content = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "anna",
        "exp": int(time.time()) + 600,
        "scope": "notes:read",
        **claims,
    }
    present = {name: value for name, value in content.items() if value is not None}
    return jwt.api_jws.encode(json.dumps(present).encode(), key, provider.algorithm, headers={"kid": key_id})


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


async def test_what_is_not_signed_by_the_provider_is_refused(client: Client, provider: Provider) -> None:
    good = provider.token("notes:read")
    key_id = next(iter(provider.keys))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": int(time.time()) + 600, "scope": "notes:read"}
    stranger = Provider()
    by_secret = jwt.encode(claims, "x" * 64, "HS256", headers={"kid": key_id})
    for text in (
        unsigned({"alg": "none", "kid": key_id}, claims),
        unsigned({"alg": provider.algorithm, "kid": key_id}, claims),
        unsigned({"alg": provider.algorithm, "kid": ["a"]}, claims),
        by_secret,
        stranger.token("notes:read"),
        stranger.token("notes:read", headers={"kid": key_id}),
        stranger.token("notes:read", headers={"kid": None}),
        good[:-10] + "A" * 10,
        good.rpartition(".")[0] + ".",
        "x",
        "a.b.c",
        "é.b.c",
    ):
        await refused(await client.get("/notes", headers=bearer(text)), 401, "invalid_token")


async def test_another_way_to_say_who_one_is_is_refused(client: Client, provider: Provider) -> None:
    for value in ("Basic YTpi", "Bearer", "", "token abc"):
        await refused(await client.get("/notes", headers={"Authorization": value}), 401, None)
    twice = [("Authorization", f"Bearer {provider.token('notes:read')}")] * 2
    await refused(await client.get("/notes", headers=twice), 401, "invalid_request")


async def test_a_token_that_expires_is_refused_also_when_it_was_let_through_before(
    provider: Provider, tmp_path: Path
) -> None:
    settings = settings_for(provider.write(tmp_path / "jwks.json"), auth_leeway_seconds=0)
    async with serving(create_service(settings, name="notes", api=secured_api())) as client:
        headers = bearer(provider.token("notes:read", exp=int(time.time()) + 2))
        assert (await client.get("/notes", headers=headers)).status == 200

        async def is_over() -> bool:
            return (await client.get("/notes", headers=headers)).status == 401

        await until(is_over)


async def test_clocks_may_differ_by_the_leeway(client: Client, provider: Provider) -> None:
    headers = bearer(provider.token("notes:read", exp=int(time.time()) - 10, nbf=int(time.time()) + 10))
    assert (await client.get("/notes", headers=headers)).status == 200


async def test_keys_in_a_file_are_rotated(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "READ_FILE_EVERY", 0.1)
    file = provider.write(tmp_path / "jwks.json")
    async with serving(create_service(settings_for(file), name="notes", api=secured_api())) as client:
        old = bearer(provider.token("notes:read"))
        assert (await client.get("/notes", headers=old)).status == 200
        provider.rotate()
        provider.write(file)
        new = bearer(provider.token("notes:read"))

        async def new_one_is_good() -> bool:
            return (await client.get("/notes", headers=new)).status == 200

        await until(new_one_is_good)
        assert (await client.get("/notes", headers=old)).status == 401
        file.write_text("{")  # as while somebody writes it
        assert (await client.get("/notes", headers=new)).status == 200


def secured_by(source: object, **more: Any) -> AbstractAsyncContextManager[Client]:
    """A client of a service that checks tokens with the keys at `source`."""
    return serving(create_service(settings_for(source, **more), name="notes", api=secured_api()))


@asynccontextmanager
async def publishing(provider: Provider, answers: dict[str, int]) -> AsyncIterator[str]:
    """The address of a provider's keys; `answers` counts how often they were asked for, and says the status."""

    async def jwks(request: web.Request) -> web.Response:
        answers["asked"] += 1
        return web.Response(text=provider.jwks(), status=answers["status"], content_type="application/json")

    app = web.Application()
    app.router.add_get("/jwks", jwks)
    async with TestServer(app) as server:
        yield str(server.make_url("/jwks"))


async def test_a_new_key_at_an_address_is_fetched_when_a_token_names_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_AT_MOST_EVERY", 0.0)
    answers = {"asked": 0, "status": 200}
    async with publishing(provider, answers) as address, secured_by(address) as client:
        old = bearer(provider.token("notes:read"))
        assert (await client.get("/notes", headers=old)).status == 200
        provider.rotate(keep=True)
        assert (await client.get("/notes", headers=bearer(provider.token("notes:read")))).status == 200
        answers["status"] = 500
        assert (await client.get("/notes", headers=old)).status == 200
        await refused(await client.get("/notes", headers=bearer(Provider().token("notes:read"))), 401, "invalid_token")


async def test_strangers_can_not_make_us_fetch_keys_all_the_time(provider: Provider) -> None:
    answers = {"asked": 0, "status": 200}
    async with publishing(provider, answers) as address, secured_by(address) as client:
        stranger = Provider()
        for _ in range(20):
            stranger.rotate()
            await client.get("/notes", headers=bearer(stranger.token("notes:read")))
    assert answers["asked"] <= 2


async def test_without_any_keys_requests_are_told_to_come_again(provider: Provider) -> None:
    settings = settings_for("http://127.0.0.1:1/jwks")
    async with serving(create_service(settings, name="notes", api=secured_api())) as client:
        answer = await client.get("/notes", headers=bearer(provider.token("notes:read")))
        await problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"keys": []}',
        '{"keys": [1]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        '{"keys": [{"kty": "RSA"}]}',
    ],
)
def test_a_file_without_keys_is_refused_at_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"^AUTH_JWKS: "):
        KeySet(str(file)).check()


def test_a_short_rsa_key_is_left_out(tmp_path: Path) -> None:
    file = Provider(bits=1024).write(tmp_path / "jwks.json")
    with pytest.raises(SettingsError, match="no key"):
        KeySet(str(file)).check()


@pytest.mark.parametrize("said", [{"AUTH_JWKS": "x"}, {"AUTH_ISSUER": "x"}, {"AUTH_JWKS": "x", "AUTH_AUDIENCE": "x"}])
def test_what_tokens_are_checked_by_goes_together(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="AUTH_JWKS, AUTH_ISSUER and AUTH_AUDIENCE go together"):
        load(Settings)


@pytest.mark.parametrize("algorithm", ["none", "HS256", ""])
def test_algorithms_by_a_shared_secret_are_none(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_ALGORITHMS", f"RS256,{algorithm}")
    with pytest.raises(SettingsError, match=r"^AUTH_ALGORITHMS: "):
        load(Settings)


async def test_the_document_says_what_is_asked_for(client: Client) -> None:
    document = await (await client.get("/openapi.json")).json()
    operation = document["paths"]["/notes"]["get"]
    assert operation["security"] == [{"bearer": ["notes:read"]}]
    assert {"401", "403"} <= operation["responses"].keys()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "security" not in document["paths"]["/open"]["get"]


def test_no_endpoint_escapes_the_check_by_being_there_before_it(tmp_path: Path) -> None:
    app = web.Application()
    secured_api().add_to(app)
    with pytest.raises(RuntimeError, match="would ask for no token"):
        check_tokens(app, settings_for(tmp_path / "keys.json"))


async def test_without_keys_in_the_settings_all_may_do_all() -> None:
    app = create_service(NOWHERE, name="notes", api=secured_api())
    assert AUTHORITY not in app
    async with serving(app) as client:
        assert await (await client.get("/notes")).json() == {"asks": "a stranger"}
        document = await (await client.get("/openapi.json")).json()
        assert "security" not in document["paths"]["/notes"]["get"]


async def test_a_client_with_a_token_is_limited_by_its_subject(provider: Provider, tmp_path: Path) -> None:
    file = provider.write(tmp_path / "jwks.json")
    settings = settings_for(file, rate_limit_requests=1, rate_limit_seconds=600)
    async with serving(create_service(settings, name="notes", api=secured_api())) as client:
        anna, bob = (bearer(provider.token("notes:read", sub=name)) for name in ("anna", "bob"))
        assert [(await client.get("/notes", headers=who)).status for who in (anna, bob, anna, bob)] == [
            200,
            200,
            429,
            429,
        ]
