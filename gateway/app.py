"""The gateway's assembly: routers, reactions, background jobs and the edge in front of them."""

from collections.abc import Mapping

import httpx
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.edge import dead_letters, documents, routes
from gateway.edge.callers import Callers
from gateway.edge.door import INSIDE, Door
from gateway.edge.forwarding import Forwarder
from gateway.edge.lifetime import with_edge
from gateway.edge.plain import PlainRoutes
from gateway.edge.upstreams import Upstream, Upstreams
from gateway.intake import partners, receipts, webhooks
from gateway.intake.receipts import purging
from gateway.settings import GatewaySettings
from gateway.view import journey, projection, rebuild, timeline
from gateway.view import routes as view
from shared.messaging.bus import Bus
from shared.web.app import create_service_app

OPENAPI = "/openapi.json"


def create_app(
    settings: GatewaySettings | None = None,
    bus: Bus | None = None,
    upstreams: Mapping[str, httpx.AsyncBaseTransport] | None = None,
) -> FastAPI:
    """The gateway.

    Args:
        settings: from the environment when left out.
        bus: the transport of events; made from the settings when left out.
        upstreams: transports per service, for services in the same process; otherwise their URLs are used.
    """
    settings = settings or GatewaySettings()
    app = create_service_app(
        settings,
        title="Customer 360",
        routers=[
            webhooks.router,
            receipts.router,
            partners.router,
            routes.router,
            dead_letters.router,
            documents.router,
            view.plain,
            view.router,
            journey.router,
            rebuild.router,
        ],
        reactions=[projection.reactions, timeline.reactions],
        jobs=[purging(settings)],
        bus=bus,
    )
    # FastAPI's own /openapi.json shows this app only; ours shows all parts.
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") != OPENAPI]
    app.state.intake = webhooks.Intake(settings)
    callers = app.state.callers = Callers(settings)
    services = app.state.upstreams = Upstreams.of(settings, upstreams)
    itself = Upstream("gateway", "http://gateway", httpx.ASGITransport(app=_inside(app)), settings)
    app.state.dead_letters_of = {**services, "gateway": itself}
    # Innermost, so that ids, problem documents and measurements surround the door too.
    app.user_middleware.append(
        Middleware(
            Door,
            table=documents.route_table(app, settings.published),
            callers=callers,
            forwarder=Forwarder(services, settings),
            settings=settings,
        )
    )
    app.user_middleware.append(Middleware(PlainRoutes, routers=[webhooks.router, view.plain]))
    app.router.lifespan_context = journey.with_streams(with_edge(app.router.lifespan_context))
    return app


def _inside(app: FastAPI) -> ASGIApp:
    """The app without the door, for the gateway's own calls to its /internal routes."""

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, INSIDE: True}, receive, send)

    return inside
