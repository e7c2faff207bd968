"""The table of a service's endpoints, from which both its routes and its OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, Unpack

from aiohttp import web

from .endpoint import Answer, Endpoint, EndpointFunction, Options

__all__ = ["Answer", "Api"]

H = TypeVar("H", bound=EndpointFunction)


class Api:
    """The endpoints of a service.

        api = Api()

        @api.post("/orders/{orderId}/notes", body=NewNote, answers={201: Note}, errors=(404,))
        async def add_note(request: web.Request, order_id: str, body: NewNote) -> Note:
            'Add a note to an order.'

    `body` is the model of the JSON body; `query`, `path` and `headers` are models of parameters. Each is given to the
    handler as the keyword argument of that name. A parameter of the path can instead be taken by its own name in snake
    case, with its type. `headers` may also map names to descriptions, which documents them and nothing more.

    `answers` maps each status that the handler gives to its model (`None`: no body; a string: the media type of what is
    no JSON); `answer_headers` describes headers of those answers. `links` names the endpoints that an answer leads
    to, with where their parameters stand in it: `{"get_note": {"noteId": "$response.body#/noteId"}}`. `errors` names
    the statuses of the `Problem`s that it raises; those that follow from the above (400, 408, 413, 415, 422, 500, 503)
    need no naming. `max_body` is in bytes. `scope` is what a request's token must grant (`"orders:read"`), where the
    settings name keys to check tokens with (`AUTH_JWKS`). The docstring's first line is the summary, the rest the
    description.

    A handler returns an `Answer`, or just its model or dataclass. Unknown fields of bodies and unknown parameters are
    ignored. What doesn't fit together raises `TypeError` while the module is imported.
    """

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []

    def get(self, path: str, /, **options: Unpack[Options]) -> Callable[[H], H]:
        """Register the decorated function for GET (and HEAD)."""
        return self.endpoint("GET", path, **options)

    def post(self, path: str, /, **options: Unpack[Options]) -> Callable[[H], H]:
        """Register the decorated function for POST."""
        return self.endpoint("POST", path, **options)

    def put(self, path: str, /, **options: Unpack[Options]) -> Callable[[H], H]:
        """Register the decorated function for PUT."""
        return self.endpoint("PUT", path, **options)

    def delete(self, path: str, /, **options: Unpack[Options]) -> Callable[[H], H]:
        """Register the decorated function for DELETE."""
        return self.endpoint("DELETE", path, **options)

    def endpoint(self, method: str, path: str, /, **options: Unpack[Options]) -> Callable[[H], H]:
        """Register the decorated function for a method on a path."""

        def register(function: H) -> H:
            added = Endpoint.of(function, method, path, options)
            for other in self.endpoints:
                if (other.method, other.path) == (method, path):
                    raise TypeError(f"{method} {path} is answered by {other.name} already")
                if other.name == added.name:
                    raise TypeError(f"there are two endpoints called {added.name}")
            self.endpoints.append(added)
            return function

        return register

    def add_to(self, app: web.Application) -> None:
        """Serve all endpoints from `app`."""
        for endpoint in self.endpoints:
            endpoint.add_to(app)
