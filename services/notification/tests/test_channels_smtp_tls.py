"""The SMTP channel's credentials travel encrypted, to a server that somebody vouches for, and are told to nobody."""

from __future__ import annotations

import base64
import ssl
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiosmtpd import smtp
from aiosmtpd.smtp import AuthResult, Envelope, Session

from notification_service.channels import ChannelUnavailable
from notification_service.channels.smtp import SmtpChannel
from services.notification.tests.mail_server import CONFIRMED, Receiver, running

# Made for these tests: self-signed for localhost, valid until 2120.
CERTIFICATE = (
    "MIIBkTCCATigAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAx"
    "MDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIurJ7bAMgs9HYRwhg1kZ/il"
    "oiVel6ET0eOsNssFi2PCXVo/zaHc9i3/0iN+6pTLvFo7qYvcrSpMIjTdxb+wbIijeTB3MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0P"
    "AQH/BAQDAgKEMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAdBgNVHQ4EFgQUVbYay2I46dTHYVwye1QUKt0tUEAwHwYDVR0jBBgwFoAU"
    "VbYay2I46dTHYVwye1QUKt0tUEAwCgYIKoZIzj0EAwIDRwAwRAIgWNKRYylmEc5KSgF6rgCAN7b3+zkyC7s51XaQOMV4tloCIASC"
    "SCEazWKAlPlR6QHb/QM/X4Qr/ndCLgPBu+jEDQ7x"
)
KEY = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgu6mFjOhRcsZ6PF9nkHLvZrIUmZ7F84bP9CgWU1CAu52hRANCAASL"
    "qye2wDILPR2EcIYNZGf4paIlXpehE9HjrDbLBYtjwl1aP82h3PYt/9IjfuqUy7xaO6mL3K0qTCI03cW/sGyI"
)
PASSWORD = "s3cret/pass"
WRONG = "hunter2"


class Credentials:
    """An authenticator that takes one user, remembers who tried, and is careless about what it says."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []

    def __call__(self, _: smtp.SMTP, __: Session, ___: Envelope, ____: str, said: Any) -> AuthResult:
        self.seen.append((said.login, said.password))
        success = self.seen[-1] == (b"shop@example.com", PASSWORD.encode())
        answer = None if success else f"535 5.7.8 not {said.password!r}"
        return AuthResult(success=success, handled=False, message=answer)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "localhost.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(base64.b64decode(CERTIFICATE)))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    label = "PRIVATE KEY"
    key = certificate.with_suffix(".key")
    key.write_text(f"-----BEGIN {label}-----\n{KEY}\n-----END {label}-----\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def url_with(password: str, receiver: Receiver) -> str:
    return f"smtp://shop%40example.com:{quote(password, safe='')}@localhost:{receiver.port}"


async def send_one(url: str) -> None:
    channel = SmtpChannel(url)
    try:
        await channel.send(CONFIRMED)
    finally:
        await channel.close()


@pytest.mark.usefixtures("trusted")
async def test_with_credentials_the_connection_is_encrypted_first(tls: ssl.SSLContext) -> None:
    credentials = Credentials()
    receiver = Receiver()
    async with running(receiver, tls_context=tls, require_starttls=True, auth_required=True, authenticator=credentials):
        await send_one(url_with(PASSWORD, receiver))
    assert credentials.seen == [(b"shop@example.com", PASSWORD.encode())]
    assert receiver.mails[0].mail_from == "shop@example.com"


@pytest.mark.usefixtures("trusted")
async def test_implicit_tls(tls: ssl.SSLContext) -> None:
    async with running(Receiver(), tls) as receiver:
        await send_one(f"smtps://localhost:{receiver.port}")
    assert len(receiver.mails) == 1


@pytest.mark.usefixtures("trusted")
async def test_wrong_credentials_are_transient_and_nobody_is_told_them(tls: ssl.SSLContext) -> None:
    receiver = Receiver()
    async with running(receiver, tls_context=tls, auth_required=True, authenticator=Credentials()):
        with pytest.raises(ChannelUnavailable, match=r"refused the credentials \(535\)") as raised:
            await send_one(url_with(WRONG, receiver))
    assert WRONG not in "".join(traceback.format_exception(raised.value))


async def test_credentials_do_not_travel_in_clear_text() -> None:
    credentials = Credentials()
    async with running(Receiver(), auth_require_tls=False, authenticator=credentials) as receiver:
        with pytest.raises(ChannelUnavailable, match="STARTTLS"):
            await send_one(url_with(PASSWORD, receiver))
        assert not credentials.seen
        await send_one(url_with(PASSWORD, receiver) + "?starttls=never")
        assert credentials.seen


@pytest.mark.parametrize("url", ["smtp://localhost:{}?starttls=require", "smtps://localhost:{}"])
async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(url: str, tls: ssl.SSLContext) -> None:
    implicit = url.startswith("smtps")
    async with running(Receiver(), tls if implicit else None, tls_context=None if implicit else tls) as receiver:
        with pytest.raises(ChannelUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await send_one(url.format(receiver.port))
    assert not receiver.mails


async def test_without_credentials_encryption_is_taken_where_offered(tls: ssl.SSLContext) -> None:
    async with running(Receiver(), tls_context=tls, require_starttls=True) as receiver:
        await send_one(f"smtp://localhost:{receiver.port}")
    assert len(receiver.mails) == 1


def test_a_channel_shows_no_credentials() -> None:
    channel = SmtpChannel("smtp://shop%40example.com:s3cret%2Fpass@mail.example.com")
    assert repr(channel) == "SmtpChannel(smtp://mail.example.com:587)"
