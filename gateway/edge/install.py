"""Puts the edge in front of an app: the door, what it works with, and its tasks."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.edge.callers import Callers
from gateway.edge.documents import route_table
from gateway.edge.door import INSIDE, Door
from gateway.edge.forwarding import Forwarder
from gateway.edge.lifetime import with_edge
from gateway.edge.plain import PlainRoutes
from gateway.edge.upstreams import Upstream, Upstreams
from gateway.settings import GatewaySettings

OPENAPI = "/openapi.json"


def install_edge(
    app: FastAPI,
    settings: GatewaySettings,
    transports: Mapping[str, httpx.AsyncBaseTransport] | None,
    *,
    routers: Sequence[APIRouter],
) -> None:
    """Let requests reach the app's routes, and the services, through the door only.

    Args:
        transports: per service, for services in the same process; otherwise the settings' URLs are used.
        routers: the app's own routes, which the door takes its rules from.
    """
    # FastAPI's own /openapi.json shows this app only; ours shows all parts.
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") != OPENAPI]
    callers = app.state.callers = Callers(settings)
    services = app.state.upstreams = Upstreams.of(settings, transports)
    itself = Upstream("gateway", "http://gateway", httpx.ASGITransport(app=_inside(app)), settings)
    app.state.everywhere = {**services, "gateway": itself}
    door = Middleware(
        Door,
        table=route_table(_described(_Routers(routers)), settings.published),
        callers=callers,
        forwarder=Forwarder(services, settings),
        settings=settings,
    )
    # Innermost, so that ids, problem documents and measurements surround the door too.
    app.user_middleware += [door, Middleware(PlainRoutes, routers=routers)]
    app.router.lifespan_context = with_edge(app.router.lifespan_context)


class _Routers(tuple[APIRouter, ...]):
    """Routers, the same when they are the same objects."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(tuple(map(id, self)))


@cache
def _described(routers: _Routers) -> dict[str, Any]:
    """What FastAPI says of the routes; remembered, since saying it takes a fifth of a second."""
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    return app.openapi()


def _inside(app: FastAPI) -> ASGIApp:
    """The app without the door, for the gateway's own calls to its /internal routes."""

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, INSIDE: True}, receive, send)

    return inside
