"""What an SMTP_URL may say, and what is said about one that is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notification_service.channels.smtp_url import SmtpUrl, StartTls


def test_a_host_is_enough() -> None:
    url = SmtpUrl.parse("smtp://mail.example.com")
    assert (url.host, url.port, url.tls, url.starttls) == ("mail.example.com", 25, False, StartTls.AUTO)
    assert (url.user, url.password) == (None, None)
    assert str(url.sender) == "orders@localhost"
    assert url.timeout == timedelta(seconds=10)


def test_everything_can_be_said() -> None:
    url = SmtpUrl.parse("smtp://us%2Fer:p%40%2F%3A%3F%23s@[::1]:2525/?from=shop+a@b.example&timeout=2.5&starttls=auto")
    assert (url.host, url.port, url.user, url.password) == ("::1", 2525, "us/er", "p@/:?#s")
    assert (str(url.sender), url.timeout) == ("shop+a@b.example", timedelta(seconds=2.5))
    assert url.starttls is StartTls.AUTO
    assert str(url) == "smtp://[::1]:2525"


@pytest.mark.parametrize(
    ("url", "port", "starttls"),
    [
        ("smtp://host", 25, StartTls.AUTO),
        ("smtp://user:pass@host", 587, StartTls.REQUIRE),
        ("smtp://user:pass@host:25", 25, StartTls.REQUIRE),
        ("smtp://user:pass@host?starttls=auto", 587, StartTls.AUTO),
        ("smtp://host?starttls=require", 25, StartTls.REQUIRE),
        ("smtps://host", 465, StartTls.NEVER),
        ("smtps://user:pass@host", 465, StartTls.NEVER),
    ],
)
def test_port_and_encryption_follow_from_scheme_and_credentials(url: str, port: int, starttls: StartTls) -> None:
    parsed = SmtpUrl.parse(url)
    assert (parsed.port, parsed.starttls) == (port, starttls)


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("smtp://shop%40example.com:pass@host", "shop@example.com"),
        ("smtp://shop%40example.com:pass@host?from=orders@example.com", "orders@example.com"),
        ("smtp://apikey:pass@host", "orders@localhost"),
        ("smtp://host?from=b%C3%BCro@b%C3%BCcher.example", "büro@xn--bcher-kva.example"),
    ],
)
def test_the_user_is_the_sender_where_it_is_an_address(url: str, sender: str) -> None:
    assert str(SmtpUrl.parse(url).sender) == sender


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "must start with smtp://"),
        ("mail.example.com:25", "must start with smtp://"),
        ("http://user:hunter2@host", "must start with smtp://"),
        ("smtp://", "names no host"),
        ("smtp://user:hunter2@", "names no host"),
        ("smtp://user:hunter2@ho st", "names no host"),
        ("smtp://user:hunter2@mail..example.com", "names no host"),
        (f"smtp://user:hunter2@{'a' * 64}.example.com", "names no host"),
        ("smtp://[user:hunter2@host", "is not a URL"),
        ("smtp://host:hunter2", "port that is not a number"),
        ("smtp://user:hunter2@host:70000", "port that is not a number"),
        ("smtp://user:12/hunter2@host", "something after the port"),
        ("smtp://user:12#hunter2@host", "something after the port"),
        ("smtp://user:12?hunter2@host", "takes the options"),
        ("smtp://user:hunter2@host/inbox", "something after the port"),
        ("smtp://hunter2@host", "both a user and a password"),
        ("smtp://:hunter2@host", "both a user and a password"),
        ("smtp://user:hunter2@host?form=a@b.c", "takes the options"),
        ("smtp://user:hunter2@host?timeout=1&timeout=2", "takes the options"),
        *((f"smtp://host?connections={each}", "has connections that") for each in ("0", "1001", "9" * 5000, "few", "")),
        ("smtp://user:hunter2@host?from=hunter2", "no mail address"),
        ("smtp://user:hunter2@host?from=", "no mail address"),
        ("smtp://user:hunter2@host?from=a@b.c%0D%0ABcc:x@y.z", "no mail address"),
        ("smtp://user:hunter2@host?timeout=0", "timeout"),
        ("smtp://user:hunter2@host?timeout=nan", "timeout"),
        ("smtp://user:hunter2@host?timeout=inf", "timeout"),
        ("smtp://user:hunter2@host?timeout=10s", "timeout"),
        ("smtp://user:hunter2@host?starttls=hunter2", "none of require, auto, never"),
        ("smtps://user:hunter2@host?starttls=require", "leave starttls out"),
    ],
)
def test_a_wrong_url_is_explained_in_a_sentence_without_secrets(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        SmtpUrl.parse(url)
    assert str(raised.value).startswith("SMTP_URL ")
    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_credentials_are_never_shown() -> None:
    url = SmtpUrl.parse("smtp://apikey:hunter2@host")
    shown = f"{url} {url!r}"
    assert "hunter2" not in shown
    assert "apikey" not in shown
