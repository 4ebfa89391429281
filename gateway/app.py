"""The gateway's assembly: routers, reactions, background jobs and the edge in front of them."""

from collections.abc import Mapping

import httpx
from fastapi import FastAPI

from gateway.edge import dead_letters, documents, jobs, routes
from gateway.edge.install import install_edge
from gateway.intake import partners, receipts, webhooks
from gateway.intake.receipts import purging
from gateway.settings import GatewaySettings
from gateway.view import journey, projection, rebuild, timeline
from gateway.view import routes as view
from shared.messaging.bus import Bus
from shared.web.app import create_service_app

ROUTERS = (
    webhooks.router,
    receipts.router,
    partners.router,
    routes.router,
    dead_letters.router,
    jobs.router,
    documents.router,
    view.plain,
    view.router,
    journey.router,
    rebuild.router,
)


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
        routers=ROUTERS,
        reactions=[projection.reactions, timeline.reactions],
        jobs=[purging(settings)],
        bus=bus,
    )
    app.state.intake = webhooks.Intake(app, settings)
    app.state.views = view.reads_of(app)
    install_edge(app, settings, upstreams, routers=ROUTERS)
    app.router.lifespan_context = journey.with_streams(app.router.lifespan_context)
    return app
