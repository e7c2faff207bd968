"""Posting to a collector nearby: `requests` looks for proxies, passwords and cookies at each request.

That takes three times as long as the request itself.
"""

from __future__ import annotations

import os
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from requests import ConnectionError as NotConnected
from requests import Response, Session
from requests.utils import get_environ_proxies, get_netrc_auth


def session_for(url: str) -> Session | None:
    """A session for requests to one place; `None` where those take what only `requests` can: TLS, proxy, password."""
    there = urlsplit(url)
    provided = any(name.endswith("_CREDENTIAL_PROVIDER") for name in os.environ)
    if there.scheme != "http" or there.username or provided or get_environ_proxies(url) or get_netrc_auth(url):
        return None
    return _Straight(there.netloc)


class _Straight(Session):
    """Sends every request over the same connection; one that has failed is opened anew."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._connection = HTTPConnection(place)

    def request(self, method: str | bytes, url: str | bytes, *_: Any, **how: Any) -> Response:
        """Send it and read the answer. Raises `ConnectionError`, as `requests` has it."""
        target = urlsplit(str(url))._replace(scheme="", netloc="").geturl()
        headers = self.headers.copy()  # which of upper and lower case are the same
        headers.update(how.get("headers") or {})
        connection = self._connection
        connection.timeout = how.get("timeout")
        try:
            if connection.sock is not None:
                connection.sock.settimeout(connection.timeout)
            connection.request(str(method), target, how.get("data"), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise NotConnected(error) from error
        response = Response()
        response.status_code, response.reason = answer.status, answer.reason
        response.headers.update(answer.headers)
        return response

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
