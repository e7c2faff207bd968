"""Problems: every error is answered as `application/problem+json` (RFC 9457) with an honest status."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypedDict

from aiohttp import web

from eventcore.errors import Conflict, DurabilityUnknown, NotDurable, OutcomeUnknown, StreamFull, Unavailable
from eventcore.server.client_errors import as_unavailable
from eventcore.server.pipe import WrongPassword

log = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
# RFC 9110 has renamed these; older versions of Python don't know yet.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class FieldError(TypedDict):
    """One rule that a request breaks: the field (`items.0.quantity`), and what is wrong with it."""

    field: str
    message: str


class Problem(Exception):
    """Raised to answer a request with an error.

    `title` follows from the status unless given; `detail` is for people; `errors` names fields; `retry_after` (seconds,
    or a time) becomes the header, in whole seconds. A 503 always has one. `shared` is for `/readyz`, which says what it
    means.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str | None = None,
        errors: Iterable[FieldError] = (),
        retry_after: timedelta | float | None = None,
        headers: Mapping[str, str] | None = None,
        shared: bool | None = None,
    ) -> None:
        super().__init__(detail or title or str(status))
        self.status = status
        self.title = title or title_of(status)
        self.detail = detail
        self.errors = list(errors)
        self.shared = shared
        self.headers = dict(headers or {})
        if retry_after is None and status == 503:
            retry_after = 1
        if retry_after is not None:
            seconds = retry_after.total_seconds() if isinstance(retry_after, timedelta) else retry_after
            self.headers["Retry-After"] = str(max(1, math.ceil(seconds)))

    def bare(self) -> bytes:
        """The answer as bytes, where there is no request to answer."""
        body = json.dumps({"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail})
        head = (
            f"HTTP/1.1 {self.status} {self.title}\r\nContent-Type: {PROBLEM_MEDIA_TYPE}\r\nContent-Length: {len(body)}"
        )
        more = "".join(f"\r\n{name}: {value}" for name, value in self.headers.items())
        return f"{head}\r\nConnection: close{more}\r\n\r\n{body}".encode()

    def response(self, trace_id: str) -> web.Response:
        """The answer, for a request of this trace."""
        content: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail is not None:
            content["detail"] = self.detail
        if self.errors:
            content["errors"] = self.errors
        if self.shared is not None:
            content["shared"] = self.shared
        # Not by pydantic: what a client sent, and is shown again here, may be no valid Unicode.
        body = json.dumps({**content, "correlationId": trace_id}, separators=(",", ":")).encode()
        return web.Response(body=body, status=self.status, content_type=PROBLEM_MEDIA_TYPE, headers=self.headers)


def title_of(status: int) -> str:
    """The status in words."""
    try:
        return _TITLES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def problem_of(error: Exception, request: web.Request) -> Problem:
    """What is answered where this is raised; what nobody expected goes into the log, with its traceback."""
    match error:
        case Problem():
            return error
        case web.HTTPException():
            return _refused(error, request)
        case web.RequestPayloadError():
            return Problem(400, detail=f"The body did not arrive whole: {error}")
    if problem := unavailable(error):
        _complain(request, error)
        return problem
    asked = {"method": request.method, "path": request.path}
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        log.debug("the client of %(method)s %(path)s has hung up", asked)
        return Problem(400, detail="The connection was lost.")
    log.error("could not answer %(method)s %(path)s: 500", asked, exc_info=error)
    return Problem(500, detail="Something is wrong here; it is in the log under this answer's correlation id.")


def unavailable(error: Exception) -> Problem | None:
    """The 503 for an error that will pass; `None` for any other."""
    match error:
        case DurabilityUnknown():
            detail = f"This took effect, but without its durability a crash may still lose it ({error})."
        case NotDurable():
            detail = f"The store can't give the durability that is asked for; nothing was written ({error})."
        case OutcomeUnknown():
            detail = "The connection to the store was lost: this took effect as a whole, or not at all."
        case StreamFull():
            detail = f"{error}; nothing was written."
        case Conflict():  # the request is fine, and stays fine: what stands in its way is for an operator to clear
            detail = "The store holds something else where this belongs; nothing was written."
        case Unavailable() | WrongPassword():
            detail = "The store is out of reach or refuses work for now; nothing was written."
        case _ if as_unavailable(error):
            detail = "The store is out of reach or refuses work for now."
        case _:
            return None
    return Problem(503, detail=detail, retry_after=getattr(error, "retry_after", None))


def _refused(error: web.HTTPException, request: web.Request) -> Problem:
    """What aiohttp itself refuses: an unknown path, a wrong method."""
    headers = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
    details = {
        404: f"There is nothing at {request.path}.",
        405: f"{request.method} is not possible here; {headers.get('Allow', '').replace(',', ', ')} is.",
    }
    reason = error.reason if error.reason != HTTPStatus(error.status).phrase else None
    return Problem(error.status, detail=details.get(error.status, reason), headers=headers)


class _Complaints:
    """One line a second at most, so that an outage does not fill the log."""

    def __init__(self) -> None:
        self.next_at = 0.0
        self.left_out = 0

    def __call__(self, request: web.Request, error: Exception) -> None:
        if time.monotonic() < self.next_at:
            self.left_out += 1
            return
        log.warning(
            "answered 503 to %(method)s %(path)s, and to %(more)d more since the last such line: %(error)s",
            {"method": request.method, "path": request.path, "more": self.left_out, "error": error},
        )
        self.next_at, self.left_out = time.monotonic() + 1, 0


_complain = _Complaints()
