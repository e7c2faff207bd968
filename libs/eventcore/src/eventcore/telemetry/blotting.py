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
    r"(?:authorization|cookie|passw(?:or)?d|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|subscription[-_]?key|credentials?|signature|session[-_]?id)[\w-]{0,40}"
)
# `'Authorization': 'Basic …'`, `"token": "…"`, `(b'cookie', b'…')`, `password=…`: as Python, JSON and forms write them.
_QUOTED_VALUE = r"b?\\?\"[^\"\\]*|b?\\?'[^'\\]*"
_NAMED = re.compile(
    rf"({_NAME}(?:\\?['\"]\s{{0,3}}[:=,]|\s{{0,3}}=)\s{{0,3}})({_QUOTED_VALUE}|[^\s,;&'\"()\[\]{{}}<>\\]+)",
    re.IGNORECASE,
)
# `Authorization: Basic …`, `X-Api-Key: …`: to the end of the line.
_HEADER = re.compile(
    r"((?:authorization|cookie|-token|-key|-secret|-signature)\s{0,3}:\s{0,3})[^\r\n'\"\\]+", re.IGNORECASE
)
_BEARER = re.compile(r"\b(bearer\s+)[\w.~+/=-]+", re.IGNORECASE)
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
_JSON_WEB_TOKEN = re.compile(r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?")


def without_secrets(text: str) -> str:
    """The text without what is known to be secret by its place.

    That is: user names and passwords in URLs, the values of their queries, the headers that carry credentials, values
    that are named like a secret, bearer tokens, and all but the first letter of mail addresses.
    """
    if "=" in text:
        text = _QUERY_VALUE.sub(rf"\1{BLOT}", text)
    lower = text.lower()
    if any(hint in lower for hint in _HINTS):
        text = _HEADER.sub(rf"\1{BLOT}", _NAMED.sub(_blot_value, text))
        text = _BASIC.sub(rf"\1{BLOT}", _BEARER.sub(rf"\1{BLOT}", text))
    if "eyJ" in text:
        text = _JSON_WEB_TOKEN.sub(BLOT, text)
    return _ADDRESS.sub(rf"\1{BLOT}@", _USER_INFO.sub(_blot_user, text)) if "@" in text else text


def _blot_value(found: re.Match[str]) -> str:
    value = found[2]
    end = max(value.rfind('"'), value.rfind("'"))  # of the quotation mark that begins it, if there is one
    return f"{found[1]}{value[: end + 1]}{BLOT}"


def _blot_user(found: re.Match[str]) -> str:
    return f"{BLOT}@" if found[2] is None else f"{found[1]}:{BLOT}@"
