"""Routes that are described like every other and run without FastAPI's work per request."""

from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.edge.door import CALLER, ROUTE
from shared.problems import FieldError, Invalid
from shared.web.security import authorize

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class PlainRoute(APIRoute):
    """The endpoint takes the request and gives the response; parameters are described by `openapi_extra`.

    Dependencies of such a route are documentation: the endpoint calls `admit` itself.
    """

    def get_route_handler(self) -> Endpoint:
        endpoint: Endpoint = self.endpoint
        return endpoint


class PlainRoutes:
    """Runs plain routes as soon as the door has let a request in, before FastAPI looks for its route.

    With a dozen included routers that look costs more than the answer.
    """

    def __init__(self, app: ASGIApp, *, routers: Sequence[APIRouter]) -> None:
        self._app = app
        self._endpoints: dict[tuple[str | None, str | None], Endpoint] = {
            (method, route.path): route.endpoint
            for router in routers
            for route in router.routes
            if isinstance(route, PlainRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get((scope.get("method"), scope.get(ROUTE)))
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)


class JsonBytes(Response):
    """An answer of ready-made JSON. Its headers are given as they are sent, which spares what Starlette does
    to a mapping of them."""

    def __init__(
        self, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (), status_code: int = HTTPStatus.OK
    ) -> None:
        self.body = body
        self.status_code = status_code
        self.background = None
        self.raw_headers = [*headers]
        if status_code == HTTPStatus.OK:
            self.raw_headers += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]


def admit(request: Request, scopes: Sequence[str]) -> None:
    """Let the caller in: the door has seen to it, or the internal token says so.

    Raises:
        Unauthenticated, Forbidden: as `authorize`.
    """
    if CALLER not in request.scope:
        authorize(request, scopes)


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value, without building the whole mapping."""
    for given, value in scope["headers"]:
        if given == name:
            decoded: str = value.decode("latin-1")
            return decoded
    return None


def bearer(scope: Scope) -> str:
    """The caller's internal token, to ask the services on their behalf."""
    return (header(scope, b"authorization") or "").partition(" ")[2]


def customer_in(path: str) -> UUID:
    """The id in /v1/customers/{customer_id}/….

    Raises:
        Invalid: it is not a UUID.
    """
    try:
        return UUID(path.split("/", 4)[3])
    except (ValueError, IndexError) as error:
        raise Invalid(errors=[FieldError("path:customer_id", "This is not a UUID.")]) from error


def boolean(given: str | None, parameter: str) -> bool:
    """A parameter that is true or false; false when left out.

    Raises:
        Invalid: it is neither.
    """
    if given is None:
        return False
    if given.lower() not in BOOLEANS:
        raise Invalid(errors=[FieldError(f"query:{parameter}", "Say true or false.")])
    return BOOLEANS[given.lower()]
