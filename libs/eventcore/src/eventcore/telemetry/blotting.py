"""Blotting secrets out of text that goes to logs, spans and dead letters."""

from __future__ import annotations

import re

BLOT = "***"

# What stands before the host of a URL; a port is no password.
_USER_INFO = re.compile(r"(?<=://)([^/\s:@?#'\"<>]*)(:(?!\d{1,5}(?:[/?#\s'\",)]|$))[^\s'\"<>]{0,300})?@")
_QUERY_VALUE = re.compile(r"([?&][^\s=&#?'\"<>]{1,80}=)[^\s&#'\"<>)]+")
# A mail address, without the names in URLs; what stands before its first letter can't be part of one.
_ADDRESS = re.compile(
    r"(?<![^\s<>\"'(),:;=\[\]{}])(?!\*)([^\s<>\"'(),:;=/@\[\]{}])[^\s<>\"'(),:;=/@\[\]{}]*@(?=[^\s@])"
)
_NAME = (
    r"(?:authorization|cookie|passw(?:or)?d|passphrase|pass(?!\w)|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|account[-_]?key|subscription[-_]?key|credentials?|signature|session[-_]?id)[\w-]{0,40}"
)
# `'Authorization': 'Basic …'`, `"token": "…"`, `(b'cookie', b'…')`, `password=…`: as Python, JSON and forms write them.
_QUOTED_VALUE = r"b?\\?\"[^\"\\]*|b?\\?'[^'\\]*"
_NAMED = re.compile(
    rf"({_NAME}(?:\\?['\"]\s{{0,3}}[:=,]|\s{{0,3}}=)\s{{0,3}}[\[(]{{0,2}}(?:(?:bearer|basic|token)(?:\s{{1,3}}|%20))?)({_QUOTED_VALUE}|[^\s,;&'\"()\[\]{{}}<>\\]+)",
    re.IGNORECASE,
)
# `Authorization: Basic …`, `X-Api-Key: …`: to the end of the line.
_HEADER = re.compile(
    r"((?:authorization|cookie|-token|-key|-secret|-signature(?:-\w{1,9})?)\s{0,3}:\s{0,3})[^\r\n'\"\\]+", re.IGNORECASE
)
# `password: …`, as YAML and people write it; what has no digit in it is what somebody says about a password.
_SAID = re.compile(
    rf"({_NAME}\s{{0,3}}:\s{{0,3}}|--{_NAME}\s{{1,3}})(?=[^\s,;'\"\\\d]{{0,200}}\d)[^\s,;'\"\\]{{6,}}", re.IGNORECASE
)
# `BasicAuth('user', '…')`, `auth=('user', '…')`, `AUTH PLAIN …`, and the lines of a private key.
_PAIR = re.compile(r"((?:Basic|Digest)Auth\(|\bauth\s{0,3}=\s{0,3}\()[^()]+")
_MAIL_LOGIN = re.compile(r"\b(AUTH\s{1,3}(?:PLAIN|LOGIN|XOAUTH2|CRAM-MD5)\s{1,3})[\w+/=-]{6,}")
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)(?!\*)[^-]*")
_BEARER = re.compile(r"\b(bearer(?:\s+|%20))[\w.~+/=-]+", re.IGNORECASE)
_BASIC = re.compile(r"\b([Bb]asic\s+)(?=[\w+/]*(?:[\d=+/]|[a-z][A-Z]))[\w+/=]+")
# Most text has none of these: to look for them takes a tenth of the time of the patterns.
_HINTS = [
    "auth",
    "cookie",
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "signature",
    "session",
    "bearer",
    "basic",
]
# Tokens that say by their beginning what they are.
_ISSUED = re.compile(r"\b(gh[opsu]_|github_pat_|glpat-|xox[abeprs]-|sk_live_|AKIA)\w[\w-]{7,}")
_JSON_WEB_TOKEN = re.compile(r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?")


def without_secrets(text: str) -> str:
    """The text without what is known to be secret by its place.

    That is: user names and passwords in URLs, the values of their queries, the headers that carry credentials, values
    that are named like a secret, bearer and other known tokens, private keys, and all but the
    first letter of mail addresses.
    """
    if "=" in text:
        text = _QUERY_VALUE.sub(rf"\1{BLOT}", text)
    lower = text.lower()
    if any(hint in lower for hint in _HINTS):
        text = _HEADER.sub(rf"\1{BLOT}", _NAMED.sub(_blot_value, text))
        for pattern in (_BEARER, _BASIC, _SAID, _PAIR, _MAIL_LOGIN, _PRIVATE_KEY):
            text = pattern.sub(rf"\1{BLOT}", text)
    text = _ISSUED.sub(rf"\1{BLOT}", text)
    if "eyJ" in text:
        text = _JSON_WEB_TOKEN.sub(BLOT, text)
    return _ADDRESS.sub(rf"\1{BLOT}@", _USER_INFO.sub(_blot_user, text)) if "@" in text else text


def _blot_value(found: re.Match[str]) -> str:
    value = found[2]
    end = max(value.rfind('"'), value.rfind("'"))  # of the quotation mark that begins it, if there is one
    return f"{found[1]}{value[: end + 1]}{BLOT}"


def _blot_user(found: re.Match[str]) -> str:
    return f"{BLOT}@" if found[2] is None else f"{found[1]}:{BLOT}@"
